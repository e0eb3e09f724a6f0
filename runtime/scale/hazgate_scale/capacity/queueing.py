"""Closed formulas of one worker with random arrivals (M/G/1): a first guess, and a check.

Kleinrock, Queueing Systems I (1975), chapter 5. Each of n workers behind random routing is one
such queue, at an n-th of the rate.
"""

import math

import numpy as np

from hazgate_scale.capacity.service import Floats


def mean_wait_s(rate: float, service_s: Floats) -> float:
    """The mean time in the queue, by Pollaczek and Khinchine; infinite from saturation on.

    Args:
        rate: arrivals a second.
        service_s: times of service, each as likely as the others.
    """
    load = rate * float(service_s.mean())
    if load >= 1:
        return math.inf
    return rate * float((service_s**2).mean()) / (2 * (1 - load))


def late_share(rate: float, service_s: Floats, bound_s: float) -> float:
    """Which share stays longer than `bound_s`, waiting and service together; approximate.

    Who waits at all (the share that the load is) is taken to wait exponentially long, which holds
    in heavy traffic; the mean is exact.
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
    """The fewest workers, each with its part of the rate, of which so few answer late.

    The bound must be one that texts by themselves keep: with `late` or more of `service_s` over
    it no number of workers will do, and the search would not end.
    """
    assert late_share(0.0, service_s, bound_s) < late, "checked by whoever asks"
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
