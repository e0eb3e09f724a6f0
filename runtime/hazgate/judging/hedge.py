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

# The greatest η for which exp(-η (p - y)²) is concave in p on [0, 1].
LEARNING_RATE = 0.5


def regret_bound(n_experts: int) -> float:
    """Return the most by which the mean's total loss can ever exceed the best expert's."""
    return math.log(n_experts) / LEARNING_RATE


def squared_losses(
    predictions: NDArray[np.float64], outcome: bool | NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the loss, in [0, 1], of each P(unsafe) of a text with this outcome."""
    return np.asarray((predictions - np.asarray(outcome, dtype=np.float64)) ** 2)


def weights_of(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights that sum to one over the last axis.

    Args:
        losses: each expert's total loss so far, shape [..., n_experts].
    """
    # Without subtracting the least loss, every power would underflow after many outcomes.
    powers = np.exp(-LEARNING_RATE * (losses - losses.min(axis=-1, keepdims=True)))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def play(predictions: NDArray[np.float64], outcomes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the weighted mean's predictions, learning each outcome before the next prediction.

    Args:
        predictions: each expert's P(unsafe) of each text, shape [n, n_experts].
        outcomes: True for each text that was unsafe, shape [n].

    Returns:
        P(unsafe) of each text, shape [n].
    """
    losses = np.cumsum(squared_losses(predictions, outcomes[:, None]), axis=0)
    before = np.vstack([np.zeros_like(losses[:1]), losses[:-1]])
    return np.asarray((weights_of(before) * predictions).sum(axis=1))
