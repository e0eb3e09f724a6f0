"""Functions from logits to probabilities that neither overflow nor underflow."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InferenceError

# "softmax": exactly one label holds. "sigmoid": each label holds or not by itself.
Activation = Literal["softmax", "sigmoid"]


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the probability of each label; they sum to one over the last axis.

    Args:
        logits: shape [..., n_labels].

    Returns:
        Shape [..., n_labels], each in [0, 1].
    """
    wide = logits.astype(np.float64)
    # Not exp(x - log Σ exp): next to a large maximum, log Σ exp loses the number of equal logits.
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the probability of each label by itself.

    Args:
        logits: shape [..., n_labels].

    Returns:
        Shape [..., n_labels], each in [0, 1].
    """
    # 1 / (1 + exp(-x)) would overflow on its way to zero.
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))


def log_odds(probability: float) -> float:
    """Return the logit of a probability in (0, 1), which `sigmoid` turns back into it."""
    return math.log(probability) - math.log1p(-probability)


def calibrated(
    logits: NDArray[np.float32] | NDArray[np.float64],
    temperature: float,
    activation: Activation = "softmax",
) -> NDArray[np.float64]:
    """Return the activation of logits divided by a temperature.

    This is temperature scaling (Guo et al. 2017). At 1 it is the activation itself, bit for bit;
    above 1 the scores move together, below 1 apart. The order of the labels never changes.

    Args:
        logits: shape [..., n_labels].
        temperature: positive, as fitted on labelled texts.
        activation: the head's activation.

    Returns:
        Shape [..., n_labels], each in [0, 1]; with "softmax" they sum to one over the last axis.
    """
    scaled = logits.astype(np.float64) / temperature
    return softmax(scaled) if activation == "softmax" else sigmoid(scaled)


def lowered(
    logits: NDArray[np.float32], rows: Sequence[bool], label: int, margin: float
) -> NDArray[np.float32]:
    """Return logits with those of one label lowered by a margin in some rows.

    Args:
        logits: shape [n, n_labels].
        rows: True for each row that is lowered, n of them.
        label: index of the label.
        margin: in log-odds.
    """
    steps = np.zeros_like(logits)
    steps[np.asarray(rows, dtype=np.bool_), label] = margin
    return logits - steps


def check_probabilities(scores: Mapping[str, float]) -> None:
    """Refuse scores that cannot be probabilities, before anything is decided on them.

    Raises:
        InferenceError: a score is NaN, infinite or outside [0, 1]; names all of them.
    """
    # Written so that NaN, which compares false with everything, is refused too.
    wrong = [f"{name} = {score}" for name, score in scores.items() if not 0 <= score <= 1]
    if wrong:
        raise InferenceError(f"expected scores between 0 and 1, got {', '.join(wrong)}")
