"""Exponential weights over several forecasters: never much worse than the best of them. Pure.

The exponentially weighted average forecaster under the squared loss (Vovk 1990; Cesa-Bianchi and
Lugosi, "Prediction, Learning, and Games", 2006, section 3.3). (p - y)² of a probability p is
exp-concave up to LEARNING_RATE, so that after any number of outcomes, in any order, even one that
an adversary chose,

    loss of the weighted mean ≤ loss of the best expert + ln(number of experts) / LEARNING_RATE.

The bound is a constant: no horizon has to be known, and nothing is tuned.
"""

import math

import numpy as np
from numpy.typing import NDArray

# The greatest for which exp(-η (p - y)²) is concave in p on [0, 1].
LEARNING_RATE = 0.5


def regret_bound(n_experts: int) -> float:
    """The most that the weighted mean's total loss exceeds the best expert's, at any time."""
    return math.log(n_experts) / LEARNING_RATE


def squared_losses(
    predictions: NDArray[np.float64], outcome: bool | NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The loss of each P(unsafe), in [0, 1], once it is known whether the text was unsafe."""
    return np.asarray((predictions - np.asarray(outcome, dtype=np.float64)) ** 2)


def weights_of(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that sum to one over the last axis.

    Args:
        losses: each expert's total so far, shape [..., n_experts].
    """
    # The least loss is taken out: after many outcomes every power would underflow.
    powers = np.exp(-LEARNING_RATE * (losses - losses.min(axis=-1, keepdims=True)))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def play(predictions: NDArray[np.float64], outcomes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The weighted mean's predictions when each outcome is learnt before the next prediction.

    Args:
        predictions: each expert's P(unsafe) of each text, shape [n, n_experts].
        outcomes: whether each text was unsafe, shape [n].

    Returns:
        P(unsafe) of each text, shape [n].
    """
    losses = np.cumsum(squared_losses(predictions, outcomes[:, None]), axis=0)
    before = np.vstack([np.zeros_like(losses[:1]), losses[:-1]])
    return np.asarray((weights_of(before) * predictions).sum(axis=1))
