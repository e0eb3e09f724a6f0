"""Figures from seconds: percentiles, ratios and their spread. Pure functions of numbers."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Latencies of one round in milliseconds; percentiles are interpolated linearly."""

    p5_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundSpread:
    """One figure over the rounds: its median, least and greatest."""

    median: float
    least: float
    greatest: float


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Return percentiles of the latencies of one round; needs at least one."""
    p5, p50, p95, p99 = (float(p) for p in np.percentile(np.array(seconds) * 1e3, [5, 50, 95, 99]))
    return Percentiles(p5_ms=p5, p50_ms=p50, p95_ms=p95, p99_ms=p99)


def spread(values: Sequence[float]) -> RoundSpread:
    """Return median and range of one figure's values, one per round."""
    return RoundSpread(median=statistics.median(values), least=min(values), greatest=max(values))


def speedup(baseline: Sequence[float], other: Sequence[float]) -> RoundSpread:
    """Return how many times cheaper `other` is than `baseline`, compared round by round.

    Rounds are minutes apart and share what else the machine does, so the ratio is taken within
    each round and only then summarised.

    Args:
        baseline: the baseline's cost (time per text), one per round.
        other: the other system's cost, of the same rounds in the same order.
    """
    return spread([b / o for b, o in zip(baseline, other, strict=True)])
