"""A probe file is read strictly: what it claims must follow from what it counts."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import BundleError
from hazgate.engine.exits import Exits
from tests.support.exits import LOWEST, evidence_data, exits_data, exits_of
from tests.support.manifests import SHA256

Change = Callable[[dict[str, Any]], object]
OTHER = "f" * 64


def _refusal(data: dict[str, Any]) -> str:
    with pytest.raises(BundleError) as error:
        exits_of(data)
    return str(error.value)


def _changed(change: Change) -> dict[str, Any]:
    data = exits_data()
    change(data)
    return data


def _evidence(data: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = data["claim"]["evidence"][0]
    return first


WRONG: dict[str, tuple[Change, str]] = {
    "unknown field": (lambda d: d.update(probe=[]), "$.probe: unknown field"),
    "no claim": (lambda d: d.pop("claim"), "$.claim: missing"),
    "another schema": (lambda d: d.update(schema_version=0), "$.schema_version: expected 1, got 0"),
    "limit above the threshold": (
        lambda d: d.update(limits=[LOWEST - 1, LOWEST + 0.01]),
        "$.limits[1]: must be at most",
    ),
    "an infinite limit": (lambda d: d.update(limits=[-1e39, LOWEST]), "$.limits[0]: must be a fin"),
    "a probe beyond float32": (
        lambda d: d["probes"][1].__setitem__(0, 1e39),
        "$.probes[1]: must be finite",
    ),
    "a probe too few": (lambda d: d["probes"].pop(), "$.probes: expected one for each of 2 exits"),
    "probes of two sizes": (lambda d: d["probes"][1].pop(), "$.probes: expected the same number"),
    "no exit": (
        lambda d: d.update(after_layers=[], probes=[], limits=[]),
        "$.after_layers: expected ascending",
    ),
    "layers out of order": (
        lambda d: d.update(after_layers=[2, 1]),
        "$.after_layers: expected ascending",
    ),
    "no threshold": (
        lambda d: d["claim"].update(thresholds=[], evidence=[]),
        "$.claim.thresholds: expected ascending",
    ),
    "a threshold without evidence": (
        lambda d: d["claim"]["evidence"].pop(),
        "$.claim.evidence: expected one for each",
    ),
    "evidence of another threshold": (
        lambda d: _evidence(d).update(threshold=0.31),
        "$.claim.evidence: expected one for each",
    ),
    "a bound that the counts do not give": (
        lambda d: _evidence(d).update(upper_bound=0.001),
        "$.claim.evidence[0].upper_bound: 1 missed of 1000 flagged give 0.00473",
    ),
    "too few flagged texts": (
        lambda d: d["claim"]["evidence"].__setitem__(
            0, evidence_data(0.3, n_missed=0, n_flagged=597)
        ),
        "$.claim.evidence[0]: 0 missed of 597 flagged do not prove",
    ),
    "more missed than flagged": (
        lambda d: _evidence(d).update(n_missed=1001),
        "$.claim.evidence[0]: expected 0 ≤ n_missed",
    ),
    "a share of certainty": (
        lambda d: d["claim"].update(max_missed_share=1.0),
        "$.claim.max_missed_share: must be between 0 and 1",
    ),
    "a digest that is none": (lambda d: d.update(graph_sha256="x"), "$.graph_sha256: expected 64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_probe_file_is_refused_by_the_field(case: str) -> None:
    change, expected = WRONG[case]
    assert expected in _refusal(_changed(change))


def test_a_probe_file_with_nan_is_refused() -> None:
    text = json.dumps(exits_data()).replace("0.25", "NaN", 1).encode()
    with pytest.raises(BundleError, match="NaN"):
        Exits.parse(text, source="exits.json")


def test_every_problem_of_a_probe_file_is_named_at_once() -> None:
    message = _refusal(exits_data(limits=[0.0], after_layers=[3, 2], graph_sha256="x"))
    assert all(name in message for name in ("$.limits", "$.after_layers", "$.graph_sha256"))


def test_a_newer_probe_file_is_refused_by_its_version() -> None:
    assert "schema version 2; this hazgate reads up to 1" in _refusal(exits_data(schema_version=2))


def test_what_is_written_is_what_is_read() -> None:
    exits = exits_of(exits_data())
    assert Exits.parse(exits.dump(), source="again") == exits
    assert exits.probe_array.shape == (2, 5)
    assert exits.limit_array.shape == (2,)


@given(st.integers(0, 20), st.integers(1, 5000))
def test_only_counts_that_prove_the_share_are_read(n_missed: int, n_flagged: int) -> None:
    n_missed = min(n_missed, n_flagged)
    data = exits_data()
    data["claim"]["evidence"][1] = {
        **evidence_data(0.5, n_missed=n_missed, n_flagged=n_flagged),
        "n_texts": 6000,
    }
    if data["claim"]["evidence"][1]["upper_bound"] <= 0.005:
        exits_of(data)
    else:
        assert "do not prove" in _refusal(data)


@pytest.mark.parametrize(
    "change",
    [
        {"level": "level2"},
        {"graph_sha256": OTHER},
        {"weights_sha256": [SHA256, OTHER]},
        {"after_layers": [1, 3]},
    ],
)
def test_probes_of_another_graph_are_refused_with_both_names(change: dict[str, Any]) -> None:
    exits = exits_of(exits_data())
    theirs: dict[str, Any] = {
        "level": "level1",
        "graph_sha256": SHA256,
        "weights_sha256": [SHA256],
        "after_layers": [1, 2],
    }
    exits.check_graph(source="exits.json", **theirs)
    (name, value), *_ = change.items()
    with pytest.raises(BundleError, match="is for another graph") as error:
        exits.check_graph(source="exits.json", **{**theirs, **change})
    assert f"$.{name}" in str(error.value)
    assert str(value) in str(error.value)
