"""Figures of Level 1: how well it tells unsafe texts from others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
)

from hazgate_evaluation.estimates import Estimate, Resampling, estimate, ratio
from hazgate_evaluation.ranking import resampled_areas
from hazgate_evaluation.reliability import ReliabilityBin, calibration_error, reliability

_MAX_CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """Precision and recall of flagging at one threshold."""

    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagFigures:
    """Figures of flagging at one threshold; None where a figure is not defined.

    `recall` is the flagged share of unsafe rows, `false_positive_rate` that of the others,
    `precision` the share of unsafe rows among the flagged.
    """

    recall: Estimate | None
    false_positive_rate: Estimate | None
    precision: Estimate | None
    f1: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Level1Figures:
    """Figures of Level 1 on the rows that count for it.

    `auprc` is scikit-learn's average precision, `roc_auc` the area under the ROC curve. `ece` and
    `reliability` are of P(unsafe) against being unsafe.
    """

    n_rows: int
    n_unsafe: int
    threshold: float
    flags: FlagFigures
    auprc: Estimate | None
    roc_auc: Estimate | None
    ece: Estimate | None
    precision_recall: tuple[CurvePoint, ...]
    reliability: tuple[ReliabilityBin, ...]


def flag_figures(
    unsafe: NDArray[np.bool_], flagged: NDArray[np.bool_], resampling: Resampling
) -> FlagFigures:
    """Compute figures of decisions, with bootstrap intervals.

    Args:
        unsafe: the truth, shape [n].
        flagged: the decisions, shape [n].
        resampling: of the same rows.
    """
    columns = np.column_stack(
        [unsafe & flagged, unsafe & ~flagged, ~unsafe & flagged, ~unsafe & ~flagged]
    ).astype(np.float64)
    # The whole data set is one more resample: each row once.
    totals = np.vstack([columns.sum(axis=0), resampling.totals(columns)])
    true_flags, missed, false_flags, passed = totals.T

    def of(samples: NDArray[np.float64]) -> Estimate | None:
        return estimate(float(samples[0]), samples[1:])

    return FlagFigures(
        recall=of(ratio(true_flags, true_flags + missed)),
        false_positive_rate=of(ratio(false_flags, false_flags + passed)),
        precision=of(ratio(true_flags, true_flags + false_flags)),
        f1=of(ratio(2 * true_flags, 2 * true_flags + missed + false_flags)),
    )


def level1_figures(
    unsafe: NDArray[np.bool_],
    scores: NDArray[np.float64],
    threshold: float,
    resampling: Resampling,
) -> Level1Figures:
    """Compute all figures of Level 1.

    Args:
        unsafe: the truth, shape [n]; of both classes.
        scores: P(unsafe), shape [n].
        threshold: a row is flagged at this P(unsafe) and above.
        resampling: of the same rows.
    """
    areas = resampled_areas(unsafe, scores, resampling)
    return Level1Figures(
        n_rows=len(unsafe),
        n_unsafe=int(unsafe.sum()),
        threshold=threshold,
        flags=flag_figures(unsafe, scores >= threshold, resampling),
        auprc=estimate(float(average_precision_score(unsafe, scores)), areas.average_precision),
        roc_auc=estimate(float(roc_auc_score(unsafe, scores)), areas.roc_auc),
        ece=calibration_error(scores, unsafe, resampling),
        precision_recall=_curve(unsafe, scores),
        reliability=reliability(scores, unsafe),
    )


def _curve(unsafe: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[CurvePoint, ...]:
    precision, recall, thresholds = precision_recall_curve(unsafe, scores)
    kept = np.linspace(0, len(thresholds) - 1, _MAX_CURVE_POINTS).round().astype(int)
    return tuple(
        CurvePoint(
            threshold=float(thresholds[i]), precision=float(precision[i]), recall=float(recall[i])
        )
        for i in np.unique(kept)
    )
