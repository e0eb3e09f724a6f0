"""Operating points, chosen on one half of the rows and measured on the other."""

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InputError
from hazgate.judging.scores import calibrated
from hazgate_evaluation.calibration.levels import Level
from hazgate_evaluation.calibration.report import HazardPoint, LevelCalibration, MeasuredThreshold
from hazgate_evaluation.calibration.thresholds import (
    Candidates,
    ThresholdTarget,
    candidates,
    choose_threshold,
)
from hazgate_evaluation.level1 import flag_figures

# A half with fewer rows is not fitted.
MIN_ROWS = 30


def choose_pair(
    level1: Level, probabilities: NDArray[np.float64], target: ThresholdTarget
) -> tuple[MeasuredThreshold, MeasuredThreshold]:
    """Choose the policy's thresholds `unsafe` and `controversial`.

    Args:
        level1: Level 1 on the rows that count for it.
        probabilities: their calibrated P(unsafe), shape [n].
        target: what `unsafe` must keep; `controversial` is the lowest threshold of at most twice
            the false-positive rate.

    Raises:
        InputError: the target cannot be reached; names the nearest one.
    """
    positive = level1.labels == 1
    found = candidates(positive[level1.fit], probabilities[level1.fit])
    unsafe = choose_threshold(found, target)
    rate = target.value if target.kind == "fpr" else _rate_at(found, unsafe)
    # Where the target costs no false positive, twice zero would not be more cautious.
    cautious = ThresholdTarget(kind="fpr", value=round(max(2 * rate, 2 / found.n_negative), 4))
    controversial = min(unsafe, choose_threshold(found, cautious)) if cautious.value < 1 else unsafe
    return (
        _measure(level1, probabilities, positive, target, unsafe),
        _measure(level1, probabilities, positive, cautious, controversial),
    )


def _rate_at(found: Candidates, threshold: float) -> float:
    """Look up the false-positive rate at a chosen, perhaps rounded, threshold."""
    i = int(np.abs(found.thresholds - threshold).argmin())
    return float(found.false_positive_rate[i])


def hazard_points(
    level: Level, found: LevelCalibration, labels: tuple[str, ...], target: ThresholdTarget
) -> tuple[HazardPoint, ...]:
    """Choose each hazard's threshold against the rest that keeps the target.

    Args:
        level: Level 2 on the rows whose hazard is known.
        found: its temperature.
        labels: the hazards.
        target: what each threshold must keep among those rows.
    """
    probabilities = calibrated(level.logits, found.temperature)
    points = []
    for i, label in enumerate(labels):
        positive = level.labels == i
        n_fit, n_test = int((positive & level.fit).sum()), int((positive & ~level.fit).sum())
        if min(n_fit, n_test) < MIN_ROWS:
            point = no_point(target, f"fewer than {MIN_ROWS} rows in a half")
        else:
            point = point_or_problem(level, probabilities[:, i], positive, target)
        points.append(HazardPoint(hazard=label, n_fit=n_fit, n_test=n_test, point=point))
    return tuple(points)


def point_or_problem(
    level: Level,
    probabilities: NDArray[np.float64],
    positive: NDArray[np.bool_],
    target: ThresholdTarget,
) -> MeasuredThreshold:
    """Find the point that keeps a target, or the reason why there is none.

    Args:
        level: the level, with the rows to fit on.
        probabilities: a score for each row, shape [n].
        positive: True for rows that should be flagged, shape [n].
        target: what the threshold must keep.
    """
    try:
        threshold = choose_threshold(
            candidates(positive[level.fit], probabilities[level.fit]), target
        )
    except InputError as error:
        return no_point(target, str(error))
    return _measure(level, probabilities, positive, target, threshold)


def _measure(
    level: Level,
    probabilities: NDArray[np.float64],
    positive: NDArray[np.bool_],
    target: ThresholdTarget,
    threshold: float,
) -> MeasuredThreshold:
    """Measure a threshold on the rows that were not fitted on."""
    test = ~level.fit
    figures = flag_figures(
        positive[test], probabilities[test] >= threshold, level.test_resampling()
    )
    return MeasuredThreshold(
        target=target,
        threshold=threshold,
        false_positive_rate=figures.false_positive_rate,
        recall=figures.recall,
        precision=figures.precision,
        problem=None,
    )


def no_point(target: ThresholdTarget, problem: str) -> MeasuredThreshold:
    """Return a target without a threshold, and the reason why there is none."""
    return MeasuredThreshold(
        target=target,
        threshold=None,
        false_positive_rate=None,
        recall=None,
        precision=None,
        problem=problem,
    )
