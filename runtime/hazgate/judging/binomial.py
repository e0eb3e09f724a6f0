"""Exact bounds on a share, from a count of independent draws. Pure.

The bounds are those of Clopper and Pearson (Biometrika 26, 1934), one-sided.
"""

import math

# A share is found to about this.
_STEPS = 60


def tail(n_events: int, n: int, share: float) -> float:
    """Return P[Bin(n, share) ≤ n_events], the lower tail.

    Args:
        n_events: at most so many events; negative is never.
        n: draws, not negative.
        share: probability of an event, in [0, 1].
    """
    if n_events < 0:
        return 0.0
    if n_events >= n or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    log_share, log_rest = math.log(share), math.log1p(-share)
    log_choices = math.lgamma(n + 1)
    terms = (
        log_choices
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * log_share
        + (n - i) * log_rest
        for i in range(n_events + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def upper_bound(n_events: int, n: int, confidence: float) -> float:
    """Return the bound that the true share exceeds with probability 1 - `confidence` at most.

    Without draws it is 1.
    """
    return 1.0 if n_events >= n else _share_at(n_events, n, 1 - confidence)


def lower_bound(n_events: int, n: int, confidence: float) -> float:
    """Return the bound that the true share is below with probability 1 - `confidence` at most."""
    return 0.0 if n_events <= 0 else _share_at(n_events - 1, n, confidence)


def _share_at(n_events: int, n: int, level: float) -> float:
    """Return the share at which the lower tail is `level`; the tail falls as the share grows."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if tail(n_events, n, middle) > level:
            low = middle
        else:
            high = middle
    return high
