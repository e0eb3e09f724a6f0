"""The fewest workers that keep a bound on latency, found by simulating them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hazgate.errors import InputError
from hazgate_scale.capacity.fleet import Fleet, Outcome, simulate
from hazgate_scale.capacity.queueing import guess_workers
from hazgate_scale.capacity.service import Floats, spread_factor
from hazgate_scale.capacity.traffic import Traffic

PERCENT = 99.0
# Queues begin empty; what comes first finds a fleet that is better off than later.
WARM_UP_SHARE = 0.1
# A fleet with more to do than it can do shows it late in a short simulation, or, where deadlines
# shorten its queues, never in its latency.
MAX_UTILISATION = 0.9
# So near do two numbers of workers lie before the search ends.
_PRECISION = 0.01
# How far a step goes before both sides of the answer are known.
_STEP = 1.15


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The answer of a search: so many workers, and what came of simulating them.

    `tried` has the 99th percentile in milliseconds of each number that was simulated.
    """

    n_workers: int
    outcome: Outcome
    tried: dict[int, float]


def percentile_ms(outcome: Outcome, percent: float) -> float:
    """A percentile of latency, without the time that queues take to fill."""
    return outcome.percentile_ms(percent, since_s=WARM_UP_SHARE * float(outcome.arrivals_s[-1]))


def check_bound(traffic: Traffic, bound_ms: float) -> None:
    """Refuses a bound that texts miss without any other beside them.

    Raises:
        InputError: no number of workers keeps it; says why.
    """
    alone_ms = 1e3 * service_times(traffic)
    over = float((alone_ms >= bound_ms).mean())
    if over >= 1 - PERCENT / 100:
        raise InputError(
            f"{over:.2%} of the texts take {bound_ms:g} ms or longer by themselves (the longest "
            f"{float(alone_ms.max()):.0f} ms), so no number of workers answers {PERCENT:g} % "
            "in that time: allow more, read less of long texts, give a worker more cores, or take "
            "a quicker variant"
        )


def service_times(traffic: Traffic) -> Floats:
    """Seconds of each text of a traffic by itself, varied as runs were measured to vary."""
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
    """Simulates fleets of more and fewer workers until both sides of the bound are known.

    What is not answered counts as late. The answer was simulated, keeps the bound and is busy for
    at most MAX_UTILISATION of the time; a hundredth fewer workers are not.

    Args:
        fleet: everything about it but the number of workers.
        traffic: what comes.
        bound_ms: on the 99th percentile; `check_bound` has let it pass.
        seed: of every simulation.
        on_simulation: told of each number that is simulated; returns what is told of progress.
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
