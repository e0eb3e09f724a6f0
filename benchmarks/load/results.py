"""Results of the load benchmark, and the figures that follow. No input or output."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness.store import ResultHeader

# Multiples of a system's own saturation; at the last its goodput must not fall.
LOADS = (0.3, 0.6, 0.9, 1.2, 2.0)
OVERLOAD = LOADS[-1]

# A rate is past saturation if a smaller share of it is answered in time.
_SHARE_IN_TIME = 0.9
_RATE_STEP = 1.5
_RISE = 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadFigures:
    """One system at one load; `load` is a multiple of its own saturation.

    `answered` counts answers within the deadline, `shed` refused, dropped or failed requests,
    `late` the others. Latencies in milliseconds are of answered requests, `short_p99_ms` of those
    for texts of one window; None in results of before it was measured. Processor seconds are those
    of the asker and, where it is a process of its own, of the server.
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
    short_p99_ms: float | None = None

    @property
    def goodput(self) -> float:
        """Answers in time per second."""
        return self.answered / self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSystem:
    """One system; `reads` says how much of a text it reads.

    `unpaced_rate` is texts per second of a few askers that wait for their answers,
    `saturation_rate` the greatest goodput under random arrivals around that rate.
    """

    name: str
    title: str
    reads: str
    unpaced_rate: float
    saturation_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Overhead:
    """The cost of a way to ask over a plain call, milliseconds, over pairs of the same text.

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
    """All that one run measured; `absent` has each missing peer and the reason.

    Token counts are of the texts that were asked about, in Level 1's own tokens.
    """

    header: ResultHeader
    variant: str
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
    short: Sequence[bool] = (),
) -> LoadFigures:
    """Count the requests' fates.

    Args:
        system: that was asked.
        load: as in `LoadFigures`.
        found: as `offer` returns it.
        s: seconds over which they were offered.
        asker_cpu_s: as in `LoadFigures`.
        server_cpu_s: as in `LoadFigures`.
        short: True for each request whose text is one window; empty if that is not known.
    """
    answered = _answered_ms(found)
    answered_short = _answered_ms(
        [taken for taken, is_short in zip(found, short, strict=False) if is_short]
    )
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
        short_p99_ms=float(np.percentile(answered_short, 99)) if answered_short else None,
    )


def _answered_ms(found: Sequence[float | None]) -> list[float]:
    return [1e3 * taken for taken in found if taken is not None and not math.isnan(taken)]


def next_rate(tried: Sequence[tuple[float, float]]) -> float | None:
    """Return the rate to try next in the search for saturation; None ends it.

    The rate rises while goodput does, even if some requests are refused: a server that sheds
    long texts answers more short ones.

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
    """Return the system's greatest goodput at any load."""
    own = [f.goodput for f in figures if f.system == system.name]
    return max([system.saturation_rate, *own])


def overhead_of(
    way: str, direct: Sequence[float | None], other: Sequence[float | None]
) -> Overhead | None:
    """Return the cost of `other` over `direct` per request; None if no request has both.

    Args:
        way: the name of `other`.
        direct: seconds as `offer` returns them.
        other: seconds of the same texts at the same times.
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
