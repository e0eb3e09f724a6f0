"""The capacity plan: from lengths and service times to workers, resources and costs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hazgate.errors import InputError
from hazgate_scale.capacity.bill import Bill, Prices, bill_of
from hazgate_scale.capacity.fleet import Fate, Fleet, Outcome, Routing, WorkerFailure, simulate
from hazgate_scale.capacity.search import check_bound, find_workers, percentile_ms
from hazgate_scale.capacity.service import costs_of
from hazgate_scale.capacity.times import ServiceTimes, VariantTimes
from hazgate_scale.capacity.traffic import Bursts, make_traffic

OnSimulation = Callable[[str, int], Callable[[int], None]]

# Workers fail after queues have filled and early enough for the effect to show.
_LOSS_AT_SHARE = 0.3
# A simulation lasts this many times the bound, so that growing queues show.
_MIN_BOUNDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """Load and goals of a fleet.

    Attributes:
        qps: texts a second, on average.
        p99_ms: bound that 99 % of texts keep; unanswered texts count as late.
        flagged_share: share of texts that are flagged; Level 2 reads those.
        bursts: None for plain random arrivals.
        n_survive: workers that may be down in addition to a roll-out.
        n_roll_out: workers rolled out at once.
        routing: choice of a request's worker.
        timeout_s: time after which an answer is useless.
        detection_s: time that a router goes on sending to a worker that has ended.
        n_requests: fewest requests to simulate; bursts and long bounds need more.
        seed: seed of traffic, routing and spread.
    """

    qps: float
    p99_ms: float
    flagged_share: float
    bursts: Bursts | None
    n_survive: int
    n_roll_out: int
    routing: Routing
    timeout_s: float
    detection_s: float
    n_requests: int
    seed: int

    def __post_init__(self) -> None:
        # Written so that NaN is refused.
        for name in ("qps", "p99_ms", "timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name, least in {"n_survive": 0, "n_roll_out": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedRun:
    """One simulated fleet in figures: latencies, and shares of fates."""

    n_workers: int
    p50_ms: float | None
    p99_ms: float | None
    answered_share: float
    shed_share: float
    expired_share: float
    lost_share: float
    utilisation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityPlan:
    """A fleet that meets a demand, with its simulations and its bill.

    Attributes:
        model: model of the service times.
        variant: variant of that model.
        unit: "core" or "gpu".
        n_needed: workers that keep the bound, without spare ones.
        n_workers: all workers, spare ones included.
        mean_ms: mean time of a text by itself.
        longest_ms: time of the longest text by itself.
        needed: simulation of `n_needed` workers.
        whole: simulation of all workers.
        with_loss: simulation of all workers while `n_survive` of them fail.
        tried: 99th percentile of each number of workers that the search simulated.
        bill: resources and costs of all workers.
    """

    model: str
    variant: str
    unit: str
    n_needed: int
    n_workers: int
    mean_ms: float
    longest_ms: float
    needed: SimulatedRun
    whole: SimulatedRun
    with_loss: SimulatedRun | None
    tried: Mapping[str, float | None] = field(repr=False)
    bill: Bill


def plan_capacity(
    times: ServiceTimes,
    variant: str | None,
    lengths: Sequence[int],
    demand: Demand,
    prices: Prices,
    on_simulation: OnSimulation,
) -> CapacityPlan:
    """Plan the capacity that a demand needs.

    Args:
        times: measured service times.
        variant: a measured variant; None takes the fastest on these lengths.
        lengths: tokens of representative texts, special tokens included.
        demand: load and goals.
        prices: assumptions of the bill.
        on_simulation: called with each simulation's title and number of requests; returns its
            progress callback.

    Raises:
        InputError: a value is invalid, or no number of workers meets the demand.
    """
    name = variant or quickest(times, lengths)
    chosen = variant_of(times, name)
    costs = costs_of(lengths, chosen, times.windows)
    traffic = make_traffic(
        costs,
        rate=demand.qps,
        n=max(demand.n_requests, int(_MIN_BOUNDS * demand.p99_ms / 1e3 * demand.qps)),
        flagged_share=demand.flagged_share,
        bursts=demand.bursts,
        seed=demand.seed,
    )
    check_bound(traffic, demand.p99_ms)
    fleet = Fleet(
        n_workers=1,
        routing=demand.routing,
        timeout_s=demand.timeout_s,
        cold_start_s=chosen.cold_start_s,
        detection_s=demand.detection_s,
    )
    found = find_workers(
        fleet,
        traffic,
        bound_ms=demand.p99_ms,
        seed=demand.seed,
        on_simulation=lambda n: on_simulation(f"{n} workers", len(traffic)),
    )
    n_workers = found.n_workers + demand.n_survive + demand.n_roll_out
    whole = replace(fleet, n_workers=n_workers)

    def run(title: str, one: Fleet) -> SimulatedRun:
        progress = on_simulation(title, len(traffic))
        return simulated_run(one, simulate(one, traffic, seed=demand.seed, on_progress=progress))

    with_loss = None
    if demand.n_survive:
        at_s = _LOSS_AT_SHARE * float(traffic.arrivals_s[-1])
        loss = WorkerFailure(at_s=at_s, n_workers=demand.n_survive)
        with_loss = run(
            f"{n_workers} workers, {demand.n_survive} end", replace(whole, failures=(loss,))
        )
    mean_flagged = demand.flagged_share * costs.alone_s(flagged=True)
    mean_safe = (1 - demand.flagged_share) * costs.alone_s(flagged=False)
    return CapacityPlan(
        model=times.model,
        variant=name,
        unit=times.unit,
        n_needed=found.n_workers,
        n_workers=n_workers,
        mean_ms=1e3 * float(np.mean(mean_flagged + mean_safe)),
        longest_ms=1e3 * float(costs.alone_s(flagged=bool(demand.flagged_share)).max()),
        needed=simulated_run(replace(fleet, n_workers=found.n_workers), found.outcome),
        whole=run(f"{n_workers} workers", whole),
        with_loss=with_loss,
        tried={str(n): finite(ms) for n, ms in sorted(found.tried.items())},
        bill=bill_of(
            n_workers,
            times,
            chosen,
            prices,
            rate=demand.qps,
            n_roll_out=demand.n_roll_out,
            drain_s=demand.p99_ms / 1e3,
        ),
    )


def quickest(times: ServiceTimes, lengths: Sequence[int]) -> str:
    """Find the fastest variant on these lengths; raises as `costs_of`."""

    def mean_s(name: str) -> float:
        costs = costs_of(lengths, times.variants[name], times.windows)
        return float(costs.alone_s(flagged=False).mean())

    return min(times.variants, key=mean_s)


def variant_of(times: ServiceTimes, name: str) -> VariantTimes:
    """Look up one variant's times.

    Raises:
        InputError: the model has no times of that variant.
    """
    if name not in times.variants:
        raise InputError(
            f"no service times of variant {name!r} of {times.model}; it has times of "
            f"{', '.join(times.variants)}"
        )
    return times.variants[name]


def simulated_run(fleet: Fleet, outcome: Outcome) -> SimulatedRun:
    """Summarise a simulation; percentiles count unanswered requests as infinite."""
    return SimulatedRun(
        n_workers=fleet.n_workers,
        p50_ms=finite(percentile_ms(outcome, 50)),
        p99_ms=finite(percentile_ms(outcome, 99)),
        answered_share=outcome.share(Fate.ANSWERED),
        shed_share=outcome.share(Fate.SHED),
        expired_share=outcome.share(Fate.EXPIRED),
        lost_share=outcome.share(Fate.LOST),
        utilisation=outcome.utilisation,
    )


def finite(ms: float) -> float | None:
    """Turn infinity into None, because JSON has no infinity."""
    return ms if np.isfinite(ms) else None
