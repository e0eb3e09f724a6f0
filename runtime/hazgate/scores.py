"""Logits to probabilities, in a form that neither overflows nor underflows."""

import numpy as np
from numpy.typing import NDArray


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


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
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
