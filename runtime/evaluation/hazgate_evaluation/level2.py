"""Figures of Level 2 on all rows whose hazard is known, flagged or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from hazgate_evaluation.estimates import Estimate, Resampling, estimate, ratio
from hazgate_evaluation.label_figures import LabelFigures
from hazgate_evaluation.reliability import ReliabilityBin, calibration_error, reliability


@dataclass(frozen=True, kw_only=True, slots=True)
class Level2Figures:
    """Figures of Level 2 under argmax.

    Macro figures are means over the hazards that occur in the rows. `confusion[i][j]` counts the
    rows of hazard i that Level 2 gave hazard j, in the order of `labels`. `ece` and `reliability`
    are of the highest probability against its hazard being right.
    """

    n_rows: int
    labels: tuple[str, ...]
    accuracy: Estimate | None
    macro_precision: Estimate | None
    macro_recall: Estimate | None
    macro_f1: Estimate | None
    hazards: dict[str, LabelFigures]
    confusion: tuple[tuple[int, ...], ...]
    ece: Estimate | None
    reliability: tuple[ReliabilityBin, ...]


def level2_figures(
    hazard: NDArray[np.int64],
    scores: NDArray[np.float64],
    labels: Sequence[str],
    resampling: Resampling,
) -> Level2Figures | None:
    """Compute all figures of Level 2; None without rows.

    Args:
        hazard: index of the true hazard, shape [n].
        scores: probability of each hazard, shape [n, len(labels)].
        labels: names of the hazards.
        resampling: of the same rows.
    """
    if not len(hazard):
        return None
    k = len(labels)
    predicted = scores.argmax(axis=1)
    confusion = confusion_matrix(hazard, predicted, labels=range(k))
    cells = (hazard * k + predicted)[:, None] == np.arange(k * k)
    resampled = resampling.totals(cells.astype(np.float64)).reshape(-1, k, k)
    # The whole data set is one more resample: each row once.
    counts = np.concatenate([confusion[None].astype(np.float64), resampled])
    precision, recall, f1 = _one_against_rest(counts)
    confidence = scores.max(axis=1)
    hits = predicted == hazard

    def of(samples: NDArray[np.float64]) -> Estimate | None:
        return estimate(float(samples[0]), samples[1:])

    return Level2Figures(
        n_rows=len(hazard),
        labels=tuple(labels),
        accuracy=of(ratio(np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2)))),
        macro_precision=of(_macro(precision, counts)),
        macro_recall=of(_macro(recall, counts)),
        macro_f1=of(_macro(f1, counts)),
        hazards={
            label: LabelFigures(
                n_rows=int(confusion[i].sum()),
                precision=of(precision[:, i]),
                recall=of(recall[:, i]),
                f1=of(f1[:, i]),
            )
            for i, label in enumerate(labels)
        },
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        ece=calibration_error(confidence, hits, resampling),
        reliability=reliability(confidence, hits),
    )


def _one_against_rest(
    counts: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute precision, recall and F1 [..., k] from confusion counts [..., k, k]."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    true, given = counts.sum(axis=-1), counts.sum(axis=-2)
    return ratio(right, given), ratio(right, true), ratio(2 * right, true + given)


def _macro(figures: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over the hazards that occur; one never predicted has precision 0."""
    occurs = counts.sum(axis=-1) > 0
    total = np.where(occurs, np.nan_to_num(figures), 0).sum(axis=-1)
    return ratio(total, occurs.sum(axis=-1).astype(np.float64))
