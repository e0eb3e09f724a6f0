"""Several gates as one: scores are joined, outcomes move the weights, what was learnt is kept."""

import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hazgate import BundleError, Gate, InputError, Policy
from hazgate.engine.options import EngineOptions
from hazgate.experts import Experts
from hazgate.judging.hedge import squared_losses, weights_of

TEXTS = ["How do I kill a Python process?", "good morning", ""]
POLICY = b"""schema_version = 1
name = "toy"
mode = "loose"
[gate]
controversial = 0.3
unsafe = 0.6
[hazards]
default = { action = "block", threshold = 0.5 }
"""


@pytest.fixture(scope="module")
def gates(tiny_bundle: Path) -> list[Gate]:
    return [
        Gate.open(tiny_bundle, engine=EngineOptions(variant=name, threads=1))
        for name in ("fp32", "int8")
    ]


@pytest.fixture
def experts(gates: list[Gate]) -> Experts:
    return Experts(gates)


def test_scores_are_means_of_the_gates_scores_by_weight(
    experts: Experts, gates: list[Gate]
) -> None:
    experts.learn(experts.check(TEXTS[0]), unsafe=True)
    weights = experts.weights
    for text, joined in zip(TEXTS, experts.check_many(TEXTS), strict=True):
        alone = [gate.check(text, all_levels=True) for gate in gates]
        assert joined.verdicts == tuple(alone)
        assert joined.weights == weights
        assert joined.unsafe == pytest.approx(np.dot(weights, [v.unsafe for v in alone]))
        assert joined.flagged == (joined.unsafe >= 0.5)
        assert (joined.hazards is None) == (not joined.flagged)
        if joined.hazards:
            assert sum(joined.hazards.values()) == pytest.approx(1)
            assert joined.hazard == max(joined.hazards, key=joined.hazards.__getitem__)


def test_an_outcome_costs_each_gate_its_squared_distance(experts: Experts) -> None:
    assert experts.weights == (0.5, 0.5)
    losses = np.zeros(2)
    for text, unsafe in zip(TEXTS, (True, False, False), strict=True):
        verdict = experts.check(text)
        experts.learn(verdict, unsafe=unsafe)
        losses += squared_losses(np.array([v.unsafe for v in verdict.verdicts]), unsafe)
    assert experts.weights == tuple(weights_of(losses).tolist())
    assert experts.n_outcomes == 3


def test_saved_weights_are_restored_bit_for_bit(
    experts: Experts, gates: list[Gate], tmp_path: Path
) -> None:
    for text in TEXTS:
        experts.learn(experts.check(text), unsafe=True)
    experts.save(tmp_path / "state.json")
    again = Experts(gates)
    again.restore(tmp_path / "state.json")
    assert (again.weights, again.n_outcomes) == (experts.weights, 3)


def test_no_outcome_is_lost_between_threads(experts: Experts) -> None:
    verdict = experts.check(TEXTS[0])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: experts.learn(verdict, unsafe=True), range(400)))
    assert experts.n_outcomes == 400
    losses = squared_losses(np.array([v.unsafe for v in verdict.verdicts]), outcome=True)
    np.testing.assert_allclose(experts.weights, weights_of(400 * losses), rtol=1e-9)


def test_a_state_of_other_experts_is_refused(
    experts: Experts, gates: list[Gate], tmp_path: Path
) -> None:
    experts.save(tmp_path / "state.json")
    with pytest.raises(BundleError, match="is from other experts: tiny fp32"):
        Experts(gates[::-1]).restore(tmp_path / "state.json")


def _change(field: str, value: object) -> Callable[[bytes], bytes]:
    return lambda text: json.dumps({**json.loads(text), field: value}).encode()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "is not a JSON document"),
        (lambda text: b"[]", "expected a JSON object"),
        (lambda text: b"\xff", "is not a JSON document"),
        (_change("losses", [0.0, 5.0]), "its digest differs"),
        (_change("sha256", None), "its digest differs"),
    ],
    ids=["cut", "array", "not UTF-8", "changed", "no digest"],
)
def test_a_damaged_state_is_refused_and_changes_nothing(
    experts: Experts, tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    experts.learn(experts.check(TEXTS[0]), unsafe=True)
    file = tmp_path / "state.json"
    experts.save(file)
    before = experts.weights
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(BundleError, match=said):
        experts.restore(file)
    assert (experts.weights, experts.n_outcomes) == (before, 1)


def test_a_missing_state_is_refused(experts: Experts, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        experts.restore(tmp_path / "none.json")


def test_gates_that_cannot_be_joined_are_refused(gates: list[Gate]) -> None:
    with pytest.raises(BundleError, match="two or more gates, got 1"):
        Experts(gates[:1])
    with pytest.raises(BundleError, match="gate 1 is the same variant"):
        Experts([gates[0], gates[0]])
    with pytest.raises(BundleError, match="gate 1 has a policy"):
        Experts([gates[0], gates[1].with_policy(Policy.parse(POLICY))])
    with pytest.raises(BundleError, match="threshold must be between 0 and 1"):
        Experts(gates, threshold=1.5)
    spec = dataclasses.replace(gates[1].level2.spec, labels=("a", "b"))
    hazards = dataclasses.replace(gates[1].level2, spec=spec)
    with pytest.raises(BundleError, match="gate 1 has other hazards"):
        Experts([gates[0], dataclasses.replace(gates[1], hazard_level=hazards)])


def test_a_verdict_of_other_experts_is_not_learnt_from(experts: Experts, gates: list[Gate]) -> None:
    verdict = Experts(gates[::-1]).check(TEXTS[0])
    with pytest.raises(InputError, match="from other experts"):
        experts.learn(verdict, unsafe=True)
    assert experts.n_outcomes == 0


def test_one_string_is_not_taken_as_many_texts(experts: Experts) -> None:
    with pytest.raises(InputError, match="got one string"):
        experts.check_many("hello")
