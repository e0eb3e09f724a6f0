"""Resources and costs of a fleet: arithmetic on a number of workers."""

import math
from dataclasses import dataclass

from hazgate.errors import InputError
from hazgate_scale.capacity.times import ServiceTimes, VariantTimes

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """Assumptions about hosts, network and money."""

    units_per_host: int
    bandwidth_gbit_s: float
    per_unit_hour: float

    def __post_init__(self) -> None:
        for name in ("units_per_host", "bandwidth_gbit_s", "per_unit_hour"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """Resources and costs of a fleet.

    Attributes:
        n_units: cores, or GPUs.
        n_hosts: hosts that hold them.
        host_memory_bytes: memory of a full host: unshared memory per process, mapped weights once.
        distribution_s: time until every host has fetched the bundle from one source.
        roll_out_s: time until every worker was drained and restarted.
        cost_per_million: cost of a million texts at a constant planned rate.
    """

    n_units: int
    n_hosts: int
    host_memory_bytes: int
    distribution_s: float
    roll_out_s: float
    cost_per_million: float


def bill_of(
    n_workers: int,
    times: ServiceTimes,
    variant: VariantTimes,
    prices: Prices,
    *,
    rate: float,
    n_roll_out: int,
    drain_s: float,
) -> Bill:
    """Compute what `n_workers` need and cost.

    Args:
        n_workers: all workers, spare ones included.
        times: service times of the model.
        variant: times of the served variant.
        prices: the assumptions.
        rate: texts a second, for the cost per text.
        n_roll_out: workers rolled out at once.
        drain_s: time until a worker has answered its queue.

    Raises:
        InputError: a host has too few cores for one worker.
    """
    workers_per_host = prices.units_per_host // times.units_per_worker
    if not workers_per_host:
        raise InputError(
            f"a worker needs {times.units_per_worker} {times.unit}s and a host has only "
            f"{prices.units_per_host}"
        )
    n_units = n_workers * times.units_per_worker
    n_hosts = math.ceil(n_workers / workers_per_host)
    on_host = min(workers_per_host, n_workers)
    mapped_bytes = variant.rss_bytes - variant.unshared_bytes
    bytes_per_s = prices.bandwidth_gbit_s * 1e9 / 8
    return Bill(
        n_units=n_units,
        n_hosts=n_hosts,
        host_memory_bytes=on_host * variant.unshared_bytes + mapped_bytes,
        distribution_s=n_hosts * variant.bundle_bytes / bytes_per_s,
        roll_out_s=math.ceil(n_workers / n_roll_out) * (drain_s + variant.cold_start_s),
        cost_per_million=n_units * prices.per_unit_hour / _SECONDS_PER_HOUR / rate * 1e6,
    )
