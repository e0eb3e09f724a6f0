"""Temperature scaling: one number per level that makes its probabilities reliable."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from hazgate.errors import InputError
from hazgate.judging.policy_checks import MAX_TEMPERATURE, MIN_TEMPERATURE

# A minimum this close to a bound, in the logarithm, does not count.
_AT_BOUND = 0.01
_TINIEST = np.finfo(np.float64).tiny


def binary_logits(positive: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits [n, 2], positive label last, whose softmax gives `positive` [n].

    Only differences of logits matter to a softmax.
    """
    odds = np.maximum(positive, _TINIEST) / np.maximum(1 - positive, np.finfo(np.float64).epsneg)
    return np.column_stack([np.zeros(len(positive)), np.log(odds)])


def logits_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits [n, n_labels] whose softmax is `probabilities`: their logarithms."""
    return np.asarray(np.log(np.maximum(probabilities, _TINIEST)))


def negative_log_likelihood(
    logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float
) -> float:
    """Compute the mean of -log P(label) in nats under a temperature.

    Args:
        logits: shape [n, n_labels].
        labels: index of each row's label, shape [n].
        temperature: positive.
    """
    log_probabilities = log_softmax(logits / temperature, axis=1)
    return -float(log_probabilities[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64], *, level: str) -> float:
    """Fit the temperature of least negative log-likelihood (Guo et al. 2017, section 4.2).

    The search is over its logarithm, where 1/2 and 2 are equally far from 1. The result is rounded
    to four decimals, as a policy file writes it.

    Raises:
        InputError: the likelihood has no such minimum between 0.01 and 100: the rows agree with
            the model in everything, or in nothing.
    """
    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    # Then the likelihood grows without end towards zero, too flat for a search to see.
    separated = bool((logits.argmax(axis=1) == labels).all())
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits, labels, float(np.exp(log_t))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    if separated or not low + _AT_BOUND < found.x < high - _AT_BOUND:
        raise InputError(
            f"no temperature between {MIN_TEMPERATURE:g} and {MAX_TEMPERATURE:g} fits {level} on "
            f"{len(labels)} rows: they agree with it in everything or in nothing; add rows"
        )
    return round(float(np.exp(found.x)), 4)
