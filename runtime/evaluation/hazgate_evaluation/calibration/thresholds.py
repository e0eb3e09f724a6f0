"""Choice of a threshold that keeps a false-positive rate or a recall."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InputError

TargetKind = Literal["fpr", "recall"]
# Decimals that a threshold is rounded to, if that changes no decision.
_DIGITS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdTarget:
    """Goal of a threshold: at most a false-positive rate, or at least a recall."""

    kind: TargetKind
    value: float

    def __str__(self) -> str:
        return f"FPR ≤ {self.value:g}" if self.kind == "fpr" else f"recall ≥ {self.value:g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Every threshold that changes a decision on some rows, ascending, shape [k] each.

    Each lies half way between two neighbouring scores, `below` and `above`.
    """

    thresholds: NDArray[np.float64]
    below: NDArray[np.float64]
    above: NDArray[np.float64]
    false_positive_rate: NDArray[np.float64]
    recall: NDArray[np.float64]
    n_negative: int


def candidates(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Candidates:
    """List the thresholds between the scores of n rows, with their rates on these rows.

    Args:
        positive: True for rows that should be flagged, shape [n]; both kinds occur.
        scores: shape [n]; a row is flagged at the threshold and above.
    """
    distinct = np.unique(scores)
    middles = (distinct[:-1] + distinct[1:]) / 2
    # If no float lies between two neighbours, the upper one divides them.
    thresholds = np.where(middles > distinct[:-1], middles, distinct[1:])
    return Candidates(
        thresholds=thresholds,
        below=distinct[:-1],
        above=distinct[1:],
        false_positive_rate=_share_from(scores[~positive], thresholds),
        recall=_share_from(scores[positive], thresholds),
        n_negative=int((~positive).sum()),
    )


def choose_threshold(found: Candidates, target: ThresholdTarget) -> float:
    """Choose the threshold that keeps the target at the least cost.

    That is the lowest one for a false-positive rate and the highest one for a recall.

    Raises:
        InputError: no threshold that still tells texts apart keeps the target; names the nearest
            value that can be reached.
    """
    if target.kind == "fpr":
        finest = 1 / found.n_negative
        if target.value < finest:
            raise InputError(
                f"{target} cannot be reached on {found.n_negative} rows that should pass: the "
                f"nearest that can be told from zero is {finest:.4g}; ask for that or add rows"
            )
        keeps = (found.false_positive_rate <= target.value) & (found.recall > 0)
        best, reachable = 0, found.false_positive_rate[found.recall > 0]
        nearest = reachable.min() if reachable.size else None
    else:
        keeps = (found.recall >= target.value) & (found.false_positive_rate < 1)
        best, reachable = -1, found.recall[found.false_positive_rate < 1]
        nearest = reachable.max() if reachable.size else None
    if not keeps.any():
        cure = f"the nearest is {nearest:.4g}" if nearest is not None else "nor can any other"
        raise InputError(
            f"{target} cannot be reached by a threshold that tells texts apart: {cure}"
        )
    i = int(np.flatnonzero(keeps)[best])
    return _rounded(float(found.thresholds[i]), float(found.below[i]), float(found.above[i]))


def _share_from(
    scores: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the share of scores at or above each threshold."""
    n_below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return np.asarray(1 - n_below / max(1, len(scores)))


def _rounded(threshold: float, below: float, above: float) -> float:
    """Round the threshold if it then still divides the same scores."""
    rounded = round(threshold, _DIGITS)
    return rounded if below < rounded <= above and 0 < rounded < 1 else threshold
