"""A text is judged by its worst window; a policy decides, a shadow only speaks beside it."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import InferenceError, InputError
from hazgate.judging.judgement import (
    Heads,
    judge,
    policy_terms,
    terms_of,
    threshold_terms,
    windows_to_read,
)
from hazgate.judging.policy import Policy

HEADS = Heads(level1="softmax", positive=1, level2="softmax", hazard_labels=("S1", "S2"))
POLICY = """schema_version = 1
name = "toy"
mode = "loose"
[temperature]
gate = 2.0
[gate]
controversial = 0.3
unsafe = 0.6
[hazards]
default = { action = "block", threshold = 0.5 }
[tenants.careful]
mode = "strict"
"""
ALWAYS = POLICY.replace("threshold = 0.5 }", "threshold = 0.5 }\nS2 = { always = 0.9 }")


def _policy(text: str = POLICY) -> Policy:
    return Policy.parse(text.encode())


def _gate(*unsafe: float) -> np.ndarray:
    """Level 1's logits of windows of these P(unsafe)."""
    return np.array([[0.0, math.log(p / (1 - p))] for p in unsafe], dtype=np.float32)


@pytest.mark.parametrize(
    ("unsafe", "all_levels", "expected"),
    [
        ([0.1, 0.6, 0.5], False, [1, 2]),
        ([0.1, 0.2], False, []),
        ([0.1, 0.2], True, [1]),
        ([0.1, 0.6], True, [1]),
    ],
)
def test_hazards_are_read_where_the_gate_opened_or_of_the_worst_that_was_asked_for(
    unsafe: list[float], expected: list[int], *, all_levels: bool
) -> None:
    terms = threshold_terms(0.499)
    assert windows_to_read(terms, _gate(*unsafe), HEADS, all_levels=all_levels) == expected


def test_hazards_that_block_by_themselves_are_looked_for_in_every_window() -> None:
    terms = policy_terms(_policy(ALWAYS), None)
    assert windows_to_read(terms, _gate(0.01, 0.02), HEADS, all_levels=False) == [0, 1]


def test_a_policy_opens_the_gate_at_its_calibrated_controversial() -> None:
    # At temperature 2 the odds are rooted: 0.16 becomes 0.304, 0.15 becomes 0.296.
    terms = policy_terms(_policy(), None)
    assert windows_to_read(terms, _gate(0.15, 0.16), HEADS, all_levels=False) == [1]


def test_a_policys_decision_flags_what_it_does_not_allow() -> None:
    hazards = [np.array([[0.0, 9.0]], dtype=np.float32)]
    loose, strict = (policy_terms(_policy(), tenant) for tenant in (None, "careful"))
    # 0.4 at temperature 2: controversial.
    allowed, blocked = (judge(terms, _gate(0.4), HEADS, hazards) for terms in (loose, strict))
    assert allowed.decision is not None
    assert blocked.decision is not None
    assert (allowed.decision.action, allowed.flagged) == ("allow", False)
    assert allowed.decision.severity == blocked.decision.severity == "controversial"
    assert (blocked.decision.action, blocked.flagged) == ("block", True)
    assert blocked.decision.hazards == ("S2",)
    assert blocked.decision.policy.tenant == "careful"
    assert blocked.decision.policy.digest == _policy().digest


@given(
    unsafe=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6),
    threshold=st.floats(0.05, 0.95),
)
def test_the_worst_window_decides(unsafe: list[float], threshold: float) -> None:
    logits = _gate(*unsafe)
    judged = judge(threshold_terms(threshold), logits, HEADS, [])
    assert judged.unsafe == pytest.approx(max(unsafe), abs=1e-6)
    assert logits[judged.worst_window, 1] == logits[:, 1].max()
    assert judged.flagged == (judged.unsafe >= threshold)


def test_a_hazard_has_its_highest_score_over_what_was_read() -> None:
    rows = [np.array([[3.0, 0.0]], dtype=np.float32), np.array([[0.0, 5.0]], dtype=np.float32)]
    hazards = judge(threshold_terms(0.5), _gate(0.9, 0.8), HEADS, rows).hazards
    assert hazards is not None
    assert hazards["S1"] == pytest.approx(1 / (1 + math.exp(-3)))
    assert hazards["S2"] == pytest.approx(1 / (1 + math.exp(-5)))


def test_hazards_of_a_multi_label_head_stand_alone() -> None:
    heads = dataclasses.replace(HEADS, level2="sigmoid", hazard_thresholds=(0.5, 0.9))
    rows = [np.array([[3.0, 2.0]], dtype=np.float32)]
    judged = judge(threshold_terms(0.5), _gate(0.9), heads, rows)
    hazards = judged.hazards
    assert judged.detected == ("S1",)
    assert hazards is not None
    assert hazards["S1"] == pytest.approx(1 / (1 + math.exp(-3)))
    assert hazards["S2"] == pytest.approx(1 / (1 + math.exp(-2)))


def test_a_gate_of_sigmoid_heads_opens_by_its_unsafe_label_alone() -> None:
    heads = dataclasses.replace(HEADS, level1="sigmoid")
    logits = np.array([[9.0, 0.1], [-9.0, -0.1]], dtype=np.float32)
    terms = threshold_terms(0.5)
    assert windows_to_read(terms, logits, heads, all_levels=False) == [0]
    judged = judge(terms, logits, heads, [])
    assert judged.flagged
    assert judged.unsafe == pytest.approx(1 / (1 + math.exp(-0.1)))


def test_a_score_that_is_no_number_is_never_decided_on() -> None:
    broken = np.array([[0.0, np.nan]], dtype=np.float32)
    with pytest.raises(InferenceError, match="expected scores between 0 and 1"):
        judge(policy_terms(_policy(), None), broken, HEADS, [broken])


def test_a_tenant_without_a_policy_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(InputError, match="without a policy"):
        terms_of(0.5, None, None, "careful")
    with pytest.raises(InputError, match="no such tenant"):
        terms_of(0.5, _policy(), None, "other")


def test_a_shadow_follows_the_tenant_where_it_knows_it() -> None:
    shadow = _policy(POLICY.replace("[tenants.careful]\n", "[tenants.other]\n"))
    for tenant, expected in (("careful", None), (None, None)):
        _, beside = terms_of(0.5, _policy(), shadow, tenant)
        assert beside.policy is not None
        assert beside.policy.tenant == expected
    assert len(terms_of(0.5, None, shadow, None)) == 2
