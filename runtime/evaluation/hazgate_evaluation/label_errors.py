"""Labels that are probably wrong, ranked for review."""

from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectedLabel:
    """A label that the model confidently contradicts.

    `row` is the row's line in the data file. `margin` is P(given) - P(suggested), in [-1, 0].
    The lower it is, the more certain that the label is wrong.
    """

    row: int
    given: str
    suggested: str
    p_given: float
    p_suggested: float
    margin: float


def suspected_positions(
    given: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find suspected labels and suggest others, the most certain first.

    Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating
    Uncertainty in Dataset Labels", section 3.1) as cleanlab implements it, ranked by the margin
    between the given and the most probable label. A label that no row has is never suggested.

    Use the probabilities of a model that was not trained on these rows: a model that learned a
    wrong label by heart is confident in it.

    Args:
        given: index of the given label of each row, shape [n].
        probabilities: of each label, shape [n, n_labels].

    Returns:
        Positions and suggested labels, two arrays of shape [n_suspects].
    """
    occurs = np.bincount(given, minlength=probabilities.shape[1]) > 0
    if occurs.sum() < 2:
        # cleanlab refuses a single class; no other label could be suggested.
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    issues = find_label_issues(given, probabilities, filter_by="confident_learning", n_jobs=1)
    suggested = np.where(occurs, probabilities, -1.0).argmax(axis=1)
    positions = np.flatnonzero(issues & (suggested != given))
    suggested = suggested[positions]
    margins = probabilities[positions, given[positions]] - probabilities[positions, suggested]
    order = np.argsort(margins, kind="stable")
    return positions[order], suggested[order]


def suspected_labels(
    given: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: tuple[str, ...],
    numbers: NDArray[np.int64],
) -> tuple[SuspectedLabel, ...]:
    """Name the suspects that `suspected_positions` finds.

    Args:
        given: index of the given label of each row, shape [n].
        probabilities: of each label, shape [n, n_labels].
        labels: names of the labels.
        numbers: line of each row in its file, shape [n].
    """
    if not len(given):
        return ()
    positions, suggested = suspected_positions(given, probabilities)
    found = []
    for i, j in zip(positions.tolist(), suggested.tolist(), strict=True):
        p_given, p_suggested = float(probabilities[i, given[i]]), float(probabilities[i, j])
        found.append(
            SuspectedLabel(
                row=int(numbers[i]),
                given=labels[given[i]],
                suggested=labels[j],
                p_given=p_given,
                p_suggested=p_suggested,
                margin=p_given - p_suggested,
            )
        )
    return tuple(found)
