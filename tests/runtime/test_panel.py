"""Levels beside the cascade: their results, the actions they ask for, and the decision of all."""

import dataclasses
import json
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hazgate import InferenceError, Policy
from hazgate.judging.decision import (
    Action,
    HazardRule,
    Level1Thresholds,
    LevelRule,
    Rules,
    Temperature,
    strongest,
)
from hazgate.judging.judgement import (
    Heads,
    Judgement,
    Terms,
    judge,
    policy_terms,
    terms_of,
    threshold_terms,
)
from hazgate.judging.panel import decide_levels, level_result
from hazgate.judging.verdict import (
    LevelResult,
    ModelIdentity,
    PolicyDecision,
    PolicyIdentity,
    Span,
    TokenCount,
    Verdict,
)
from tests.support.panel_heads import INJECTION, INJECTION_THRESHOLD, PII, TOPIC

STRENGTH: dict[Action, int] = {"allow": 0, "flag": 1, "mask": 2, "block": 3}
HEADS = Heads(level1="softmax", positive=1, hazard_labels=("S1", "S2"))
IDENTITY = PolicyIdentity(name="toy", digest="0" * 64, tenant=None)


def _logits(*rows: list[float]) -> NDArray[np.float32]:
    """Return logits of windows whose sigmoid gives these rows, shape [windows, labels]."""
    return np.array([[math.log(p / (1 - p)) for p in row] for row in rows], dtype=np.float32)


def _injection(*probabilities: float, understood: bool = True) -> LevelResult:
    """Return the result of windows of these P(injection)."""
    logits = np.array([[0.0, math.log(p / (1 - p))] for p in probabilities], dtype=np.float32)
    counts = [5] * len(probabilities)
    return level_result(INJECTION, logits, counts, INJECTION_THRESHOLD, understood=understood)


def _pii(*rows: list[float]) -> LevelResult:
    return level_result(PII, _logits(*rows), [5] * len(rows), None)


QUIET = [0.1] * 6


def _rules(
    levels: Mapping[str, LevelRule], *, hazards: Mapping[str, HazardRule] | None = None
) -> Rules:
    return Rules(
        mode="loose",
        temperature=Temperature(),
        level1=Level1Thresholds(controversial=0.4, unsafe=0.6),
        default=HazardRule(action="flag", threshold=0.5),
        hazards=hazards or {},
        levels=levels,
    )


def _terms(rules: Rules, *, on_unknown: Action = "block") -> Terms:
    return Terms(
        opens_at=rules.level1.controversial,
        temperature=rules.temperature,
        rules=rules,
        policy=IDENTITY,
        on_unknown=on_unknown,
    )


def _judge(
    terms: Terms,
    unsafe: float,
    levels: Mapping[str, LevelResult] | None,
    *,
    understood: bool = True,
    hazard: float = 0.9,
) -> Judgement:
    """Judge a text of one window of this P(unsafe), whose first hazard has the score `hazard`."""
    level1 = np.array([[0.0, math.log(unsafe / (1 - unsafe))]], dtype=np.float32)
    level2 = np.array([[math.log(hazard / (1 - hazard)), 0.0]], dtype=np.float32)
    return judge(terms, level1, HEADS, [level2], understood=understood, levels=levels)


def _decision(judged: Judgement) -> PolicyDecision:
    assert judged.decision is not None
    return judged.decision


# Results


def test_a_positive_label_is_looked_for_in_the_window_where_it_is_most_probable() -> None:
    result = _injection(0.1, 0.7, 0.2)
    assert result.scores == pytest.approx({"none": 0.3, "injection": 0.7})
    assert (result.labels, result.flagged) == (("injection",), True)
    assert result.thresholds == {"injection": INJECTION_THRESHOLD}


def test_a_positive_label_flags_from_its_threshold_on_and_not_below() -> None:
    at = _injection(0.7).scores["injection"]
    logits = np.array([[0.0, math.log(0.7 / 0.3)]], dtype=np.float32)
    assert level_result(INJECTION, logits, [5], at).flagged is True
    below = level_result(INJECTION, logits, [5], math.nextafter(at, 1))
    assert (below.labels, below.flagged) == (("none",), False)


def test_every_label_of_a_multi_label_level_has_its_greatest_probability_and_its_threshold() -> (
    None
):
    result = _pii([0.9, 0.1, 0.6, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1, 0.4, 0.1])
    # address has 0.6 of the 0.7 that it needs, id_number 0.4 of 0.3.
    assert (result.labels, result.flagged) == (("email", "id_number"), True)
    assert list(result.scores) == list(PII.labels)
    assert result.scores["address"] == pytest.approx(0.6)
    assert result.thresholds == dict(zip(PII.labels, PII.thresholds, strict=True))
    nothing = _pii(QUIET)
    assert (nothing.labels, nothing.flagged) == ((), False)


def test_a_multi_label_level_with_a_positive_label_is_flagged_by_that_alone() -> None:
    head = dataclasses.replace(PII, positive="payment")
    logits = _logits([0.9, 0.1, 0.1, 0.1, 0.1, 0.4])
    result = level_result(head, logits, [5], 0.5)
    assert (result.labels, result.flagged) == (("email",), False)
    assert result.thresholds == {"payment": 0.5}


def test_a_level_that_looks_for_nothing_is_neither_flagged_nor_not() -> None:
    # The mean over the windows, weighted by tokens.
    rows = np.array([[0.0, 9.0, 0.0], [9.0, 0.0, 0.0]], dtype=np.float32)
    result = level_result(TOPIC, rows, [9, 1], None)
    assert (result.labels, result.flagged, result.thresholds) == (("legal",), None, {})
    assert level_result(TOPIC, rows, [9, 1], None, understood=False).flagged is None


def test_a_text_that_was_not_understood_never_counts_as_free_of_what_is_looked_for() -> None:
    unread = _injection(0.01, understood=False)
    assert (unread.labels, unread.flagged) == (("injection",), True)
    multi = level_result(PII, _logits(QUIET), [5], None, understood=False)
    assert (multi.labels, multi.flagged) == ((), True)


def test_a_positive_label_and_its_threshold_come_together() -> None:
    logits = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(RuntimeError, match="got None with injection"):
        level_result(INJECTION, logits, [5], None)
    with pytest.raises(RuntimeError, match=r"got 0\.5 with None"):
        level_result(PII, _logits(QUIET), [5], 0.5)


def test_a_result_as_plain_data_survives_json() -> None:
    result = _injection(0.7)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == {
        "labels": ["injection"],
        "scores": dict(result.scores),
        "flagged": True,
    }
    topic = level_result(TOPIC, np.zeros((1, 3), dtype=np.float32), [5], None)
    assert topic.to_dict()["flagged"] is None


# Actions that levels ask for


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        (LevelRule(action="block"), True),
        (LevelRule(action="block", threshold=0.91), False),
        (LevelRule(action="block", threshold=0.89), True),
        (LevelRule(action="block", threshold=0.2, labels=("phone", "name")), False),
        (LevelRule(action="block", threshold=0.2, labels=("phone", "address")), True),
        # address holds from 0.7 on, by the bundle.
        (LevelRule(action="block", labels=("address",)), False),
        (LevelRule(action="block", labels=("address", "email")), True),
    ],
)
def test_a_level_asks_if_a_label_that_counts_reaches_the_threshold(
    rule: LevelRule, *, asks: bool
) -> None:
    results = {"pii": _pii([0.9, 0.1, 0.6, 0.1, 0.1, 0.1])}
    assert decide_levels(_rules({"pii": rule}), results) == ({"pii": "block"} if asks else {})


def test_a_label_at_its_threshold_asks_and_below_it_does_not() -> None:
    result = _injection(0.7)
    at = result.scores["injection"]
    for limit, asked in ((at, {"injection": "flag"}), (math.nextafter(at, 1), {})):
        rules = _rules({"injection": LevelRule(action="flag", threshold=limit)})
        assert decide_levels(rules, {"injection": result}) == asked


def test_without_a_threshold_the_bundles_own_decides() -> None:
    rules = _rules({"injection": LevelRule(action="block")})
    assert decide_levels(rules, {"injection": _injection(0.61)}) == {"injection": "block"}
    assert decide_levels(rules, {"injection": _injection(0.59)}) == {}


def test_a_level_without_a_rule_asks_for_nothing() -> None:
    rules = _rules({"pii": LevelRule(action="flag")})
    results = {"injection": _injection(0.99), "pii": _pii([0.9] * 6)}
    assert decide_levels(rules, results) == {"pii": "flag"}


def test_labels_of_a_level_that_looks_for_nothing_ask_by_the_policys_threshold() -> None:
    rules = _rules({"topic": LevelRule(action="flag", threshold=0.9, labels=("legal",))})
    rows = np.array([[0.0, 9.0, 0.0]], dtype=np.float32)
    result = level_result(TOPIC, rows, [5], None)
    assert decide_levels(rules, {"topic": result}) == {"topic": "flag"}


def test_a_level_that_the_rules_need_may_not_be_left_out() -> None:
    rules = _rules({"pii": LevelRule(action="flag"), "injection": LevelRule(action="allow")})
    with pytest.raises(RuntimeError, match=r"no result of injection, pii.*policy\.level_names"):
        decide_levels(rules, {})
    with pytest.raises(RuntimeError, match="no result of injection, pii"):
        _judge(_terms(rules), 0.1, None)


@pytest.mark.parametrize(
    ("level", "rule", "lacking"),
    [
        ("pii", LevelRule(action="flag", labels=("fax",)), "fax"),
        ("pii", LevelRule(action="flag", labels=("email", "fax"), threshold=0.5), "fax"),
        ("topic", LevelRule(action="flag"), "any label"),
        ("topic", LevelRule(action="flag", threshold=0.5), "any label"),
        ("topic", LevelRule(action="flag", labels=("legal",)), "legal"),
    ],
)
def test_a_rule_that_does_not_fit_the_level_never_counts_as_not_asking(
    level: str, rule: LevelRule, lacking: str
) -> None:
    results = {
        "pii": _pii(QUIET),
        "topic": level_result(TOPIC, np.zeros((1, 3), dtype=np.float32), [5], None),
    }
    with pytest.raises(RuntimeError, match=f"of {lacking} of level {level}: call policy.check_lev"):
        decide_levels(_rules({level: rule}), results)


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.001, 1.001])
def test_a_score_that_is_no_probability_never_becomes_an_action(score: float) -> None:
    broken = dataclasses.replace(
        _injection(0.7), scores={"none": 0.5, "injection": score}, flagged=True
    )
    rules = _rules({"injection": LevelRule(action="block", threshold=0.5)})
    with pytest.raises(InferenceError, match=r"got injection\.injection = "):
        decide_levels(rules, {"injection": broken})


# The decision of the cascade and the levels


BLOCKS = {"injection": LevelRule(action="block"), "pii": LevelRule(action="flag")}
BOTH = {"injection": _injection(0.9), "pii": _pii([0.9] * 6)}
NEITHER = {"injection": _injection(0.1), "pii": _pii(QUIET)}


def test_a_level_alone_can_lead_to_the_action_of_a_text_that_the_cascade_calls_safe() -> None:
    judged = _judge(_terms(_rules(BLOCKS)), 0.1, BOTH)
    decision = _decision(judged)
    assert (decision.action, decision.severity) == ("block", "controversial")
    assert (decision.hazards, decision.levels) == ((), ("injection",))
    assert judged.flagged
    assert judged.unsafe == pytest.approx(0.1)


def test_where_no_level_asks_the_decision_is_the_cascades() -> None:
    for unsafe in (0.1, 0.5, 0.9):
        alone = _judge(_terms(_rules({})), unsafe, None)
        assert _judge(_terms(_rules(BLOCKS)), unsafe, NEITHER) == alone
        assert _decision(alone).levels == ()


def test_hazards_and_levels_that_ask_for_the_same_action_are_both_named() -> None:
    decision = _decision(
        _judge(_terms(_rules({"pii": LevelRule(action="flag")})), 0.9, {"pii": _pii([0.9] * 6)})
    )
    assert (decision.action, decision.severity) == ("flag", "unsafe")
    assert (decision.hazards, decision.levels) == (("S1",), ("pii",))


def test_what_asked_for_a_weaker_action_is_not_named() -> None:
    stronger = _decision(_judge(_terms(_rules(BLOCKS)), 0.9, BOTH))
    assert (stronger.action, stronger.hazards, stronger.levels) == ("block", (), ("injection",))
    masked = _rules(
        {"pii": LevelRule(action="flag")},
        hazards={"S1": HazardRule(action="mask", threshold=0.5)},
    )
    decision = _decision(_judge(_terms(masked), 0.9, {"pii": _pii([0.9] * 6)}))
    assert (decision.action, decision.hazards, decision.levels) == ("mask", ("S1",), ())


def test_a_level_that_is_let_through_is_named_and_leaves_a_safe_text_safe() -> None:
    rules = _rules({"injection": LevelRule(action="allow")})
    judged = _judge(_terms(rules), 0.1, {"injection": _injection(0.9)})
    decision = _decision(judged)
    assert (decision.action, decision.severity, decision.levels) == (
        "allow",
        "safe",
        ("injection",),
    )
    assert not judged.flagged


def test_no_text_is_safe_on_which_a_level_asks_for_more_than_allow() -> None:
    # The hazard blocks by its `always`, whatever Level 1 says.
    rules = _rules(
        {"pii": LevelRule(action="flag")},
        hazards={"S1": HazardRule(action="allow", threshold=0.5, always=0.8)},
    )
    quiet = _decision(_judge(_terms(rules), 0.1, {"pii": _pii(QUIET)}))
    assert (quiet.action, quiet.severity) == ("block", "safe")
    flagged = _decision(_judge(_terms(rules), 0.1, {"pii": _pii([0.9] * 6)}))
    assert (flagged.action, flagged.severity) == ("block", "controversial")
    assert (flagged.hazards, flagged.levels) == (("S1",), ())
    unread = _decision(_judge(_terms(rules), 0.1, {"pii": _pii(QUIET)}, understood=False))
    assert (unread.action, unread.severity, unread.hazards) == ("block", "controversial", ("S1",))


def test_the_action_on_what_was_not_understood_is_the_policys_own() -> None:
    rules = _rules({"injection": LevelRule(action="flag")})
    found = {"injection": _injection(0.9, understood=False)}
    for on_unknown, levels in (("block", ()), ("flag", ("injection",)), ("allow", ("injection",))):
        terms = _terms(rules, on_unknown=on_unknown)  # type: ignore[arg-type] # plain strings
        decision = _decision(_judge(terms, 0.1, found, understood=False))
        assert decision.action == strongest([on_unknown, "flag"])  # type: ignore[list-item]
        assert decision.levels == levels
    # It holds only because nobody understood the text: no score of it asks for anything.
    nothing = {"injection": _injection(0.1, understood=False)}
    terms = _terms(rules, on_unknown="allow")
    assert _decision(_judge(terms, 0.1, nothing, understood=False)).action == "allow"


def test_without_a_policy_levels_change_nothing() -> None:
    for unsafe in (0.1, 0.9):
        alone = _judge(threshold_terms(0.5), unsafe, None)
        assert _judge(threshold_terms(0.5), unsafe, BOTH) == alone
    assert threshold_terms(0.5).level_names == ()


POLICY = b"""schema_version = 1
name = "toy"
mode = "loose"
gate = { controversial = 0.4, unsafe = 0.6 }
hazards.default = { action = "block", threshold = 0.5 }
"""
SHADOW = POLICY + b'levels.injection = { action = "block", threshold = 0.8 }\n'


def test_a_shadow_policys_levels_decide_beside_and_leave_the_decision_alone() -> None:
    decides, shadow = terms_of(0.5, Policy.parse(POLICY), Policy.parse(SHADOW), None)
    assert (decides.level_names, shadow.level_names) == ((), ("injection",))
    judged = _judge(decides, 0.1, BOTH)
    assert judged == _judge(decides, 0.1, None)
    assert _decision(judged).action == "allow"
    beside = _decision(_judge(shadow, 0.1, BOTH))
    assert (beside.action, beside.levels) == ("block", ("injection",))


def test_a_policys_levels_leave_a_shadow_without_them_alone() -> None:
    decides, shadow = terms_of(0.5, Policy.parse(SHADOW), Policy.parse(POLICY), None)
    assert _decision(_judge(decides, 0.1, BOTH)).action == "block"
    assert _decision(_judge(shadow, 0.1, BOTH)) == _decision(_judge(shadow, 0.1, None))


def test_terms_name_the_levels_of_their_tenant_and_role() -> None:
    text = SHADOW + b'roles.tool.levels.pii = { action = "flag" }\n'
    text += b'tenants.acme.levels.topic = { action = "flag", labels = ["legal"], threshold = 1 }\n'
    policy = Policy.parse(text)
    assert policy_terms(policy, None).level_names == ("injection",)
    assert policy_terms(policy, "acme", "tool").level_names == ("injection", "pii", "topic")
    assert policy.level_names == ("injection", "topic", "pii")


PROBABILITY = st.floats(min_value=0.01, max_value=0.99)
LEVEL_RULE = st.builds(
    LevelRule,
    action=st.sampled_from(("allow", "flag", "block")),
    threshold=st.none() | PROBABILITY,
)
LEVEL_RULES = st.fixed_dictionaries({}, optional={"injection": LEVEL_RULE, "pii": LEVEL_RULE})
HAZARD_RULE = st.builds(
    HazardRule,
    action=st.sampled_from(("allow", "flag", "mask", "block")),
    threshold=PROBABILITY,
    always=st.none() | PROBABILITY,
)
RESULTS = st.builds(
    lambda injection, pii: {"injection": _injection(injection), "pii": _pii(pii)},
    PROBABILITY,
    st.lists(PROBABILITY, min_size=6, max_size=6),
)


@given(
    levels=LEVEL_RULES,
    results=RESULTS,
    hazard=HAZARD_RULE,
    on_unknown=st.sampled_from(("allow", "flag", "block")),
    unsafe=PROBABILITY,
    score=PROBABILITY,
    understood=st.booleans(),
)
@settings(deadline=None)
def test_the_action_is_the_strongest_that_was_asked_for(
    levels: dict[str, LevelRule],
    results: dict[str, LevelResult],
    hazard: HazardRule,
    on_unknown: Action,
    unsafe: float,
    score: float,
    *,
    understood: bool,
) -> None:
    rules = _rules(levels, hazards={"S1": hazard})
    terms = _terms(rules, on_unknown=on_unknown)
    cascade_terms = _terms(dataclasses.replace(rules, levels={}), on_unknown=on_unknown)
    alone = _judge(cascade_terms, unsafe, None, understood=understood, hazard=score)
    judged = _judge(terms, unsafe, results, understood=understood, hazard=score)
    decision = _decision(judged)
    asked: dict[str, Action] = {}
    for level, rule in levels.items():
        for label, limit in results[level].thresholds.items():
            own = limit if rule.threshold is None else rule.threshold
            if results[level].scores[label] >= own:
                asked[level] = rule.action
    expected = max([_decision(alone).action, *asked.values()], key=STRENGTH.__getitem__)
    assert decision.action == expected
    assert set(decision.levels) <= {level for level, one in asked.items() if one == expected}
    if understood:
        assert set(decision.levels) == {level for level, one in asked.items() if one == expected}
    assert set(decision.hazards) <= set(_decision(alone).hazards)
    if expected != _decision(alone).action:
        assert decision.hazards == ()
    if any(one != "allow" for one in asked.values()):
        assert decision.severity != "safe"
        assert judged.flagged
    else:
        assert decision.severity == _decision(alone).severity
    assert (judged.unsafe, judged.hazards) == (alone.unsafe, alone.hazards)


@given(levels=LEVEL_RULES, more=LEVEL_RULE, results=RESULTS, unsafe=PROBABILITY, score=PROBABILITY)
@settings(deadline=None)
def test_a_rule_of_one_more_level_never_weakens_the_action(
    levels: dict[str, LevelRule],
    more: LevelRule,
    results: dict[str, LevelResult],
    unsafe: float,
    score: float,
) -> None:
    fewer = {level: rule for level, rule in levels.items() if level != "pii"}
    before = _judge(_terms(_rules(fewer)), unsafe, results, hazard=score)
    after = _judge(_terms(_rules({**fewer, "pii": more})), unsafe, results, hazard=score)
    assert STRENGTH[_decision(after).action] >= STRENGTH[_decision(before).action]
    assert after.flagged >= before.flagged


# What is sent


def _verdict(
    levels: Mapping[str, LevelResult] | None = None, decision: PolicyDecision | None = None
) -> Verdict:
    verdict = Verdict(
        flagged=False,
        unsafe=0.1,
        scores={"safe": 0.9, "unsafe": 0.1},
        hazard=None,
        hazards=None,
        detected=None,
        tokens=TokenCount(total=3, read=3, unknown=0, windows=1),
        truncated=False,
        understood=True,
        views=None,
        span=Span(start=0, end=5),
        decision=decision,
        shadow=None,
        model=ModelIdentity(bundle="toy", digest="0" * 64, variant="int8", provider="CPU"),
    )
    return verdict if levels is None else dataclasses.replace(verdict, levels=levels)


# As a verdict was sent before there were levels beside a cascade.
PLAIN = (
    '{"flagged": false, "unsafe": 0.1, "scores": {"safe": 0.9, "unsafe": 0.1}, "hazard": null, '
    '"hazards": null, "detected": null, "tokens": {"total": 3, "read": 3, "unknown": 0, '
    '"windows": 1}, "truncated": false, "understood": true, "views": null, "span": {"start": 0, '
    '"end": 5}, "decision": {"action": "allow", "severity": "safe", "hazards": [], "policy": '
    '{"name": "toy", "digest": "' + "0" * 64 + '", "tenant": null}}, "shadow": null, "model": '
    '{"bundle": "toy", "digest": "' + "0" * 64 + '", "variant": "int8", "provider": "CPU"}}'
)


def test_a_verdict_without_levels_is_sent_as_it_was_to_the_last_byte() -> None:
    decision = PolicyDecision(policy=IDENTITY, action="allow", severity="safe", hazards=())
    assert json.dumps(_verdict(decision=decision).to_dict()) == PLAIN
    assert json.dumps(_verdict({}, decision).to_dict()) == PLAIN


def test_a_verdict_with_levels_has_their_results_and_the_names_of_those_that_decided() -> None:
    decision = _decision(_judge(_terms(_rules(BLOCKS)), 0.1, BOTH))
    data = json.loads(json.dumps(_verdict(BOTH, decision).to_dict(), allow_nan=False))
    assert list(data)[-2:] == ["levels", "model"]
    assert data["levels"] == {
        "injection": BOTH["injection"].to_dict(),
        "pii": BOTH["pii"].to_dict(),
    }
    assert list(data["decision"]) == ["action", "severity", "hazards", "levels", "policy"]
    assert data["decision"]["levels"] == ["injection"]
    without = {key: value for key, value in data.items() if key not in ("levels", "decision")}
    plain = json.loads(PLAIN)
    assert without == {key: value for key, value in plain.items() if key != "decision"}
