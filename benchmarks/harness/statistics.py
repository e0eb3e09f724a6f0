"""Seconds to figures: percentiles, ratios and their spread. Pure functions of numbers."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Latencies of one round, in milliseconds; percentiles are interpolated linearly."""

    p5_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """One figure over the rounds: its median, and the least and greatest round."""

    median: float
    least: float
    greatest: float


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Percentiles of the latencies of one round; at least one."""
    p5, p50, p95, p99 = (float(p) for p in np.percentile(np.array(seconds) * 1e3, [5, 50, 95, 99]))
    return Percentiles(p5_ms=p5, p50_ms=p50, p95_ms=p95, p99_ms=p99)


def spread(values: Sequence[float]) -> Spread:
    """Median and range of one figure's values, one a round."""
    return Spread(median=statistics.median(values), least=min(values), greatest=max(values))


def speedup(baseline: Sequence[float], other: Sequence[float]) -> Spread:
    """How many times less of a cost `other` has than `baseline`, compared round by round.

    Rounds are minutes apart and share whatever else the machine does, so the ratio is taken
    within each round and only then summarised.

    Args:
        baseline: the baseline's cost (time a text), one a round.
        other: the other system's, of the same rounds in the same order.
    """
    return spread([b / o for b, o in zip(baseline, other, strict=True)])
