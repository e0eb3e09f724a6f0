"""What one run of the load benchmark found, and what follows from it. No input or output."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness.machine import Machine

# Multiples of a system's own saturation. At the last its goodput must stand.
LOADS = (0.3, 0.6, 0.9, 1.2, 2.0)
OVERLOAD = LOADS[-1]

# A rate of which less is answered in time is past saturation.
_SHARE_IN_TIME = 0.9
_RATE_STEP = 1.5
_RISE = 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadFigures:
    """One system at one load; `load` is a multiple of its own saturation.

    `answered` came within the deadline, `shed` were refused, dropped or failed, `late` are
    neither; latencies in milliseconds are of what was answered. Processor seconds are those of
    whoever asked and, if that was a process of its own, of the server.
    """

    system: str
    load: float
    offered: int
    answered: int
    shed: int
    late: int
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    asker_cpu_s: float
    server_cpu_s: float | None

    @property
    def goodput(self) -> float:
        """Answers in time, a second."""
        return self.answered / self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSystem:
    """One system; `reads` says what it does with a text.

    `unpaced_rate` is texts a second of a few askers who wait for their answers,
    `saturation_rate` the greatest goodput under random arrivals around it.
    """

    name: str
    title: str
    reads: str
    unpaced_rate: float
    saturation_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Overhead:
    """What a way of asking adds to a plain call, milliseconds, over pairs of the same text.

    `added_ms` is the median of the paired differences, between their quartiles.
    """

    way: str
    n_pairs: int
    direct_p50_ms: float
    p50_ms: float
    added_ms: float
    added_p25_ms: float
    added_p75_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadResults:
    """Everything that one run measured; `absent` says of peers why they were left out.

    Token counts are of the texts that were asked about, in Level 1's own tokens.
    """

    schema_version: int
    name: str
    bundle_digest: str
    variant: str
    date: str
    command: str
    machine: Machine
    threads: int
    deadline_s: float
    median_tokens: int
    longest_tokens: int
    overhead_rate: float
    systems: tuple[LoadedSystem, ...]
    absent: Mapping[str, str]
    figures: tuple[LoadFigures, ...]
    overhead: tuple[Overhead, ...]


def figures_of(
    system: str,
    load: float,
    found: Sequence[float | None],
    s: float,
    *,
    asker_cpu_s: float = 0.0,
    server_cpu_s: float | None = None,
) -> LoadFigures:
    """What became of the requests; `found` as `offer` returns it, offered over `s` seconds."""
    answered = [1e3 * taken for taken in found if taken is not None and not math.isnan(taken)]
    return LoadFigures(
        system=system,
        load=load,
        offered=len(found),
        answered=len(answered),
        shed=sum(taken is not None and math.isnan(taken) for taken in found),
        late=sum(taken is None for taken in found),
        seconds=s,
        p50_ms=float(np.percentile(answered, 50)) if answered else None,
        p99_ms=float(np.percentile(answered, 99)) if answered else None,
        asker_cpu_s=asker_cpu_s,
        server_cpu_s=server_cpu_s,
    )


def next_rate(tried: Sequence[tuple[float, float]]) -> float | None:
    """The rate to try next in looking for saturation; None once there is no more to be had.

    Up while goodput rises, whatever else is refused: who sheds long texts answers more of them.

    Args:
        tried: each rate so far with its goodput, at least one.
    """
    if not any(goodput >= _SHARE_IN_TIME * rate for rate, goodput in tried):
        return min(rate for rate, _ in tried) / _RATE_STEP
    rates = sorted(tried)
    highest, goodput = rates[-1]
    if all(goodput >= _RISE * other for _, other in rates[:-1]):
        return highest * _RATE_STEP
    return None


def peak_goodput(system: LoadedSystem, figures: Sequence[LoadFigures]) -> float:
    """The most answers in time a second that the system gave at any load."""
    own = [f.goodput for f in figures if f.system == system.name]
    return max([system.saturation_rate, *own])


def overhead_of(
    way: str, direct: Sequence[float | None], other: Sequence[float | None]
) -> Overhead | None:
    """What `other` adds to `direct`, request by request; None if no request has both.

    Args:
        way: the name of `other`.
        direct: seconds as `offer` returns them.
        other: those of the same texts at the same times.
    """
    pairs = [
        (1e3 * a, 1e3 * b)
        for a, b in zip(direct, other, strict=True)
        if a is not None and b is not None and not math.isnan(a) and not math.isnan(b)
    ]
    if not pairs:
        return None
    first, second = np.array(pairs).T
    p25, p50, p75 = (float(p) for p in np.percentile(second - first, [25, 50, 75]))
    return Overhead(
        way=way,
        n_pairs=len(pairs),
        direct_p50_ms=float(np.median(first)),
        p50_ms=float(np.median(second)),
        added_ms=p50,
        added_p25_ms=p25,
        added_p75_ms=p75,
    )
