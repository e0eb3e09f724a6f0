"""Closed formulas for one worker with random arrivals (M/G/1): a first guess and a check.

Kleinrock, Queueing Systems I (1975), chapter 5. Each of n workers behind random routing is one
such queue with an n-th of the rate.
"""

import math

import numpy as np

from hazgate_scale.capacity.service import Floats


def mean_wait_s(rate: float, service_s: Floats) -> float:
    """Compute the mean time in the queue (Pollaczek-Khinchine); infinite at saturation.

    Args:
        rate: arrivals a second.
        service_s: service times, all equally likely.
    """
    load = rate * float(service_s.mean())
    if load >= 1:
        return math.inf
    return rate * float((service_s**2).mean()) / (2 * (1 - load))


def late_share(rate: float, service_s: Floats, bound_s: float) -> float:
    """Approximate the share that waits and is served for longer than `bound_s`.

    The share that waits equals the load; its wait is taken as exponential, which holds in heavy
    traffic. The mean is exact.
    """
    load = rate * float(service_s.mean())
    if load >= 1:
        return 1.0
    if load == 0:
        return float((service_s > bound_s).mean())
    left_s = bound_s - service_s
    mean_s = mean_wait_s(rate, service_s) / load
    waits_longer = load * np.exp(-np.maximum(left_s, 0.0) / mean_s)
    return float(np.where(left_s < 0, 1.0, waits_longer).mean())


def guess_workers(rate: float, service_s: Floats, bound_s: float, late: float = 0.01) -> int:
    """Find the smallest number of workers that keeps late answers below the limit.

    Each worker gets an equal part of the rate. Fewer than `late` of `service_s` must exceed the
    bound by themselves; otherwise no number of workers is enough and the search would not end.
    """
    assert late_share(0.0, service_s, bound_s) < late, "the caller checks the bound"
    low = high = max(1, math.ceil(rate * float(service_s.mean())))
    while late_share(rate / high, service_s, bound_s) > late:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if late_share(rate / middle, service_s, bound_s) > late:
            low = middle + 1
        else:
            high = middle
    return high
