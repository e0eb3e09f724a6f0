"""Search for the fewest workers that keep a bound on latency, by simulation."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hazgate.errors import InputError
from hazgate_scale.capacity.fleet import Fleet, Outcome, simulate
from hazgate_scale.capacity.queueing import guess_workers
from hazgate_scale.capacity.service import Floats, spread_factor
from hazgate_scale.capacity.traffic import Traffic

PERCENT = 99.0
# Queues begin empty, so the first requests find less load than later ones.
WARM_UP_SHARE = 0.1
# A short simulation shows an overloaded fleet late; where deadlines shorten queues, latency never
# shows it.
MAX_UTILISATION = 0.9
# Relative distance of two numbers of workers at which the search ends.
_PRECISION = 0.01
# Factor of a step before both sides of the answer are known.
_STEP = 1.15


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """Result of a search: a number of workers and its simulation.

    `tried` maps each simulated number to its 99th percentile in milliseconds.
    """

    n_workers: int
    outcome: Outcome
    tried: dict[int, float]


def percentile_ms(outcome: Outcome, percent: float) -> float:
    """Compute a percentile of latency, without the time in which queues fill."""
    return outcome.percentile_ms(percent, since_s=WARM_UP_SHARE * float(outcome.arrivals_s[-1]))


def check_bound(traffic: Traffic, bound_ms: float) -> None:
    """Refuse a bound that texts miss even on an idle worker.

    Raises:
        InputError: no number of workers keeps the bound.
    """
    alone_ms = 1e3 * service_times(traffic)
    over = float((alone_ms >= bound_ms).mean())
    if over >= 1 - PERCENT / 100:
        raise InputError(
            f"{over:.2%} of the texts take {bound_ms:g} ms or longer by themselves (the longest "
            f"{float(alone_ms.max()):.0f} ms), so no number of workers answers {PERCENT:g} % "
            "in that time: allow more, read less of long texts, give a worker more cores, or use "
            "a faster variant"
        )


def service_times(traffic: Traffic) -> Floats:
    """Draw the seconds of each text by itself, with the measured variation of runs."""
    costs = traffic.costs
    quantiles = np.random.default_rng(0).random(len(traffic))
    times_s: Floats = costs.alone_s(traffic.flagged) * spread_factor(costs.spread, quantiles)
    return times_s


def find_workers(
    fleet: Fleet,
    traffic: Traffic,
    *,
    bound_ms: float,
    seed: int,
    on_simulation: Callable[[int], Callable[[int], None]],
) -> SearchResult:
    """Simulate fleets of more and fewer workers until both sides of the bound are known.

    Unanswered texts count as late. The result was simulated, keeps the bound and is busy for at
    most MAX_UTILISATION of the time; a hundredth fewer workers fail one of these.

    Args:
        fleet: the fleet, whose number of workers is ignored.
        traffic: the arrivals.
        bound_ms: bound on the 99th percentile; `check_bound` accepted it.
        seed: seed of every simulation.
        on_simulation: called with each simulated number; returns its progress callback.
    """
    tried: dict[int, float] = {}
    outcomes: dict[int, Outcome] = {}

    def keeps(n_workers: int) -> bool:
        if n_workers not in tried:
            one = replace(fleet, n_workers=n_workers)
            outcome = simulate(one, traffic, seed=seed, on_progress=on_simulation(n_workers))
            tried[n_workers], outcomes[n_workers] = percentile_ms(outcome, PERCENT), outcome
        return tried[n_workers] <= bound_ms and outcomes[n_workers].utilisation <= MAX_UTILISATION

    high = guess_workers(traffic.rate, service_times(traffic), bound_ms / 1e3)
    low = 0
    while not keeps(high):
        low, high = high, max(high + 1, round(high * _STEP))
    while not low:
        lower = min(high - 1, round(high / _STEP))
        if lower < 1 or not keeps(lower):
            low = lower
            break
        high = lower
    while high - low > max(1, _PRECISION * high):
        middle = (low + high) // 2
        if keeps(middle):
            high = middle
        else:
            low = middle
    return SearchResult(n_workers=high, outcome=outcomes[high], tried=tried)
