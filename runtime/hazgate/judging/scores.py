"""Logits to probabilities, in a form that neither overflows nor underflows."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InferenceError

# What a head's logits are to its labels: one of them holds, or each holds or not by itself.
Activation = Literal["softmax", "sigmoid"]


def log_sum_exp(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log Σ exp over the last axis, computed in float64 after the maximum is taken out.

    Args:
        logits: shape [..., n_labels].

    Returns:
        Shape [...].
    """
    wide = logits.astype(np.float64)
    peak = wide.max(axis=-1, keepdims=True)
    total = np.log(np.exp(wide - peak).sum(axis=-1, keepdims=True)) + peak
    return np.asarray(total[..., 0])


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probability of each label, summing to one over the last axis.

    Args:
        logits: shape [..., n_labels].

    Returns:
        Shape [..., n_labels], each in [0, 1].
    """
    wide = logits.astype(np.float64)
    # Not exp(x - log_sum_exp): beside a large maximum the logarithm of the count is rounded away.
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probability of each label by itself.

    Args:
        logits: shape [..., n_labels].

    Returns:
        Shape [..., n_labels], each in [0, 1].
    """
    # 1 / (1 + exp(-x)) would overflow on its way to zero.
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))


def calibrated(
    logits: NDArray[np.float32] | NDArray[np.float64],
    temperature: float,
    activation: Activation = "softmax",
) -> NDArray[np.float64]:
    """Activation of the logits divided by a temperature: temperature scaling (Guo et al. 2017).

    At 1 it is the activation itself, bit for bit; above 1 the scores move together, below 1
    apart. The order of the labels never changes.

    Args:
        logits: shape [..., n_labels].
        temperature: positive, as fitted on labelled texts.
        activation: of the head.

    Returns:
        Shape [..., n_labels], each in [0, 1]; of "softmax" they sum to one over the last axis.
    """
    scaled = logits.astype(np.float64) / temperature
    return softmax(scaled) if activation == "softmax" else sigmoid(scaled)


def check_probabilities(scores: Mapping[str, float]) -> None:
    """Refuses what cannot be a probability, so that nothing is ever decided on it.

    Raises:
        InferenceError: names every score that is NaN, infinite or outside [0, 1].
    """
    # Written so that NaN, which compares false with everything, is refused too.
    wrong = [f"{name} = {score}" for name, score in scores.items() if not 0 <= score <= 1]
    if wrong:
        raise InferenceError(f"expected scores between 0 and 1, got {', '.join(wrong)}")
