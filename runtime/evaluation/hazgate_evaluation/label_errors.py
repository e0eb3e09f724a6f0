"""Which labels are probably wrong: confident learning, ranked for review."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectedLabel:
    """A label that a model is confident about being another one.

    `row` is the row's line in the data file. `margin` is P(given) - P(suggested), in [-1, 0]:
    the lower, the more certain that the label is wrong.
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
    """Positions of suspected labels, the most certain first, and the labels suggested for them.

    Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating
    Uncertainty in Dataset Labels", section 3.1): a class's threshold is the mean probability that
    its own rows give it; a row is confidently of the most probable class whose threshold it
    reaches; off the diagonal of that count are the suspects. Those whose given label is still the
    most probable one are left out. Ranked by the margin between given and suggested label.

    The probabilities should be of a model that was not trained on these rows: one that learned a
    wrong label by heart is confident in it.

    Args:
        given: index of the given label of each row, shape [n].
        probabilities: of each label, shape [n, n_labels].

    Returns:
        Two arrays of shape [n_suspects].
    """
    n_labels = probabilities.shape[1]
    counts = np.bincount(given, minlength=n_labels)
    own = np.bincount(
        given, weights=probabilities[np.arange(len(given)), given], minlength=n_labels
    )
    # What no row is labelled as has no threshold, and is suggested for none.
    thresholds = np.divide(own, counts, out=np.full(n_labels, np.inf), where=counts > 0)
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = reached.argmax(axis=1)
    p_given = probabilities[np.arange(len(given)), given]
    suspect = (
        (reached.max(axis=1) >= 0) & (suggested != given) & (probabilities.max(axis=1) > p_given)
    )
    positions = np.flatnonzero(suspect)
    margins = p_given[positions] - probabilities[positions, suggested[positions]]
    order = np.argsort(margins, kind="stable")
    return positions[order], suggested[positions][order]


def suspected_labels(
    given: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: tuple[str, ...],
    numbers: NDArray[np.int64],
) -> tuple[SuspectedLabel, ...]:
    """The suspects with their names; see `suspected_positions`.

    Args:
        given: as there.
        probabilities: as there.
        labels: the names of the labels.
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
