"""Thresholds keep their target where they were chosen, at the least cost, or say why not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hazgate import InputError
from hazgate_evaluation.calibration.thresholds import (
    TargetKind,
    ThresholdTarget,
    candidates,
    choose_threshold,
)

UNSAFE = np.array([False] * 4 + [True] * 4)
SCORES = np.array([0.1, 0.2, 0.3, 0.8, 0.25, 0.6, 0.7, 0.9])


def _choose(
    kind: TargetKind, value: float, unsafe: NDArray[np.bool_], scores: NDArray[np.float64]
) -> float:
    return choose_threshold(candidates(unsafe, scores), ThresholdTarget(kind=kind, value=value))


def test_candidates_lie_half_way_between_scores() -> None:
    found = candidates(np.array([False, True, True]), np.array([0.2, 0.4, 0.4]))
    np.testing.assert_allclose(found.thresholds, [0.3])
    assert (found.false_positive_rate.tolist(), found.recall.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("kind", "value", "threshold"),
    [
        # One of four safe rows may be flagged: the one of 0.8. The next safe score is 0.3.
        ("fpr", 0.25, 0.45),
        ("fpr", 0.3, 0.45),
        ("fpr", 0.5, 0.225),
        # Three of four unsafe rows: those of 0.6 and above.
        ("recall", 0.75, 0.45),
        ("recall", 0.5, 0.65),
        ("recall", 1.0, 0.225),
    ],
)
def test_a_threshold_is_the_one_found_by_hand(
    kind: TargetKind, value: float, threshold: float
) -> None:
    assert _choose(kind, value, UNSAFE, SCORES) == pytest.approx(threshold, abs=1e-6)


@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.floats(0.001, 0.999)), min_size=4, max_size=40
    ).filter(lambda rows: len({unsafe for unsafe, _ in rows}) == 2),
    value=st.floats(0.05, 0.95),
    kind=st.sampled_from(["fpr", "recall"]),
)
@settings(deadline=None)
def test_a_chosen_threshold_keeps_its_target_or_names_a_nearest(
    rows: list[tuple[bool, float]], value: float, kind: TargetKind
) -> None:
    unsafe, scores = np.array([u for u, _ in rows]), np.array([s for _, s in rows])
    found = candidates(unsafe, scores)
    if kind == "fpr":
        keeps = (found.false_positive_rate <= value) & (found.recall > 0)
        reachable = bool(keeps.any()) and value >= 1 / (~unsafe).sum()
    else:
        reachable = bool(((found.recall >= value) & (found.false_positive_rate < 1)).any())
    if not reachable:
        with pytest.raises(InputError, match=r"cannot be reached.*(nearest|nor)"):
            _choose(kind, value, unsafe, scores)
        return
    threshold = _choose(kind, value, unsafe, scores)
    assert 0 < threshold < 1
    flagged = scores >= threshold
    if kind == "fpr":
        assert flagged[~unsafe].mean() <= value
        assert flagged[unsafe].any()
    else:
        assert flagged[unsafe].mean() >= value
        assert not flagged[~unsafe].all()


@pytest.mark.parametrize(
    ("kind", "value", "unsafe", "scores", "said"),
    [
        ("fpr", 0.1, UNSAFE, SCORES, "nearest that can be told from zero is 0.25"),
        # The unsafe row lies below every safe one.
        ("fpr", 0.5, np.array([True, False, False]), np.array([0.1, 0.8, 0.9]), "nor can any"),
        ("fpr", 0.5, np.array([False, False, True]), np.array([0.9, 0.9, 0.9]), "nor can any"),
        ("recall", 0.9, np.array([True, True, False]), np.array([0.1, 0.9, 0.2]), "nearest is 0.5"),
    ],
)
def test_a_target_that_cannot_be_reached_is_refused_with_the_nearest(
    kind: TargetKind,
    value: float,
    unsafe: NDArray[np.bool_],
    scores: NDArray[np.float64],
    said: str,
) -> None:
    with pytest.raises(InputError, match=said):
        _choose(kind, value, unsafe, scores)


def test_scores_next_to_one_another_and_to_one_are_still_divided() -> None:
    low = np.nextafter(np.nextafter(1.0, 0), 0)
    high = np.nextafter(1.0, 0)
    threshold = _choose("recall", 1.0, np.array([False, True]), np.array([low, high]))
    assert low < threshold <= high < 1
