"""Figures of a level of any kind: precision and recall of each of its labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate_evaluation.estimates import Estimate, Resampling, estimate, ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFigures:
    """One label against all others; None where a figure is not defined."""

    n_rows: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledLevelFigures:
    """Figures of a level on the rows whose labels are known, by the bundle's own thresholds.

    `macro_f1` is the mean over the labels that occur in the rows. `accuracy` is the share of rows
    with exactly the right labels: of a multi-label level, the subset accuracy. `false_alarms` is
    the share of the rows without any label for which one holds; None without such rows.
    """

    n_rows: int
    macro_f1: Estimate | None
    accuracy: Estimate | None
    false_alarms: Estimate | None
    labels: dict[str, LabelFigures]


def label_matrix(rows: Sequence[Sequence[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Return which labels hold in each row, shape [n, len(labels)]."""
    held = [[label in row for label in labels] for row in rows]
    return np.array(held, dtype=np.bool_).reshape(len(rows), len(labels))


def labelled_level_figures(
    truth: NDArray[np.bool_],
    holds: NDArray[np.bool_],
    labels: Sequence[str],
    resampling: Resampling,
) -> LabelledLevelFigures:
    """Compare the labels that a level gives with those that a person gave.

    Args:
        truth: which labels hold, shape [n, len(labels)]; n is at least one.
        holds: which labels the level gave, of the same shape.
        labels: names of the labels.
        resampling: of the same rows.
    """
    k = len(labels)
    empty = ~truth.any(axis=1)
    columns = np.column_stack(
        [
            truth & holds,
            holds & ~truth,
            truth & ~holds,
            (truth == holds).all(axis=1),
            empty & holds.any(axis=1),
            empty,
            np.ones(len(truth)),
        ]
    ).astype(np.float64)
    # The whole data set is one more resample: each row once.
    totals = np.vstack([columns.sum(axis=0), resampling.totals(columns)])
    right, wrong, missed = totals[:, :k], totals[:, k : 2 * k], totals[:, 2 * k : 3 * k]
    exact, alarms, n_empty, n_rows = totals[:, 3 * k :].T
    precision, recall = ratio(right, right + wrong), ratio(right, right + missed)
    f1 = ratio(2 * right, 2 * right + wrong + missed)
    occurs = right + missed > 0
    macro = ratio(
        np.where(occurs, np.nan_to_num(f1), 0.0).sum(axis=1), occurs.sum(axis=1).astype(np.float64)
    )

    def of(samples: NDArray[np.float64]) -> Estimate | None:
        return estimate(float(samples[0]), samples[1:])

    return LabelledLevelFigures(
        n_rows=len(truth),
        macro_f1=of(macro),
        accuracy=of(ratio(exact, n_rows)),
        false_alarms=of(ratio(alarms, n_empty)),
        labels={
            label: LabelFigures(
                n_rows=int(truth[:, i].sum()),
                precision=of(precision[:, i]),
                recall=of(recall[:, i]),
                f1=of(f1[:, i]),
            )
            for i, label in enumerate(labels)
        },
    )
