"""Regret of an ensemble of systems that learns from each label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.judging.hedge import play, regret_bound, squared_losses, weights_of
from hazgate_evaluation.estimates import SEED

# Points kept of a curve.
_CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class RegretPoint:
    """Ensemble's total loss minus the best system's after `n_outcomes`, and the weights."""

    n_outcomes: int
    regret: float
    weights: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegretFigures:
    """Figures of an ensemble of systems on labelled texts in a seeded random order.

    Losses are squared distances of P(unsafe) from the label; `mean_losses` is in the order of the
    systems. `regret` is the ensemble's total loss minus that of the best system. It never exceeds
    `bound`, see hazgate.judging.hedge.
    """

    mean_loss: float
    mean_losses: tuple[float, ...]
    regret: float
    bound: float
    curve: tuple[RegretPoint, ...]


def regret_figures(predictions: NDArray[np.float64], unsafe: NDArray[np.bool_]) -> RegretFigures:
    """Play the texts one after another and measure the regret.

    Args:
        predictions: each system's P(unsafe), shape [n, n_systems]; n at least one.
        unsafe: the labels, shape [n].
    """
    order = np.random.default_rng(SEED).permutation(len(unsafe))
    predictions, unsafe = predictions[order], unsafe[order]
    losses = np.cumsum(squared_losses(predictions, unsafe[:, None]), axis=0)
    together = np.cumsum(squared_losses(play(predictions, unsafe), unsafe))
    regret = together - losses.min(axis=1)
    weights = weights_of(losses)
    n = len(unsafe)
    kept = np.unique(np.linspace(0, n - 1, min(n, _CURVE_POINTS)).round().astype(int))
    return RegretFigures(
        mean_loss=float(together[-1] / n),
        mean_losses=tuple((losses[-1] / n).tolist()),
        regret=float(regret[-1]),
        bound=regret_bound(predictions.shape[1]),
        curve=tuple(
            RegretPoint(
                n_outcomes=int(i) + 1,
                regret=float(regret[i]),
                weights=tuple(weights[i].tolist()),
            )
            for i in kept
        ),
    )
