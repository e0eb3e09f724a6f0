"""Service times and traffic for tests of planning."""

from typing import Any

import numpy as np

from hazgate.documents.decode import encode
from hazgate.serving.queue.backlog import QueueLimits
from hazgate_scale.capacity.service import Costs, Floats
from hazgate_scale.capacity.times import RunSpread
from hazgate_scale.capacity.traffic import Traffic, poisson

NO_SPREAD = RunSpread(p5=1.0, p95=1.0, p99=1.0)
# One text per run, and room for all: the queue of the textbooks.
ONE_BY_ONE = QueueLimits(max_queue_requests=10**6, max_queue_tokens=10**6, max_batch_tokens=1)


def costs(service_s: Floats) -> Costs:
    """Return texts of exactly these durations, one per run."""
    n = len(service_s)
    return Costs(
        level1_s=np.asarray(service_s),
        level2_s=np.zeros(n),
        n_tokens=np.ones(n, dtype=np.int64),
        run_level1_s=0.0,
        run_level2_s=0.0,
        spread=NO_SPREAD,
    )


def traffic(service_s: Floats, rate: float, seed: int = 0) -> Traffic:
    """Return those texts in turn, at random times."""
    n = len(service_s)
    return Traffic(
        arrivals_s=poisson(rate, n, np.random.default_rng(seed)),
        flagged=np.zeros(n, dtype=bool),
        costs=costs(service_s),
    )


def times_document() -> dict[str, Any]:
    """Return valid service times as JSON data that a test may change."""
    level = {
        "points": [
            {"tokens": 8, "ms": 1.0},
            {"tokens": 64, "ms": 4.5},
            {"tokens": 128, "ms": 10.0},
        ],
        "source": "a test",
    }
    return {
        "schema_version": 1,
        "model": "test",
        "date": "2026-01-01",
        "machine": "a test's",
        "unit": "core",
        "units_per_worker": 2,
        "windows": {
            "special_tokens": 2,
            "window_tokens": 128,
            "overlap_tokens": 32,
            "close_tokens": 28,
        },
        "variants": {
            "int8-fused": {
                "batching": "packed",
                "gate": level,
                "hazards": level,
                "spread": encode(NO_SPREAD),
                "text_ms": 0.1,
                "bundle_bytes": 40_000_000,
                "cold_start_s": 0.5,
                "rss_bytes": 160_000_000,
                "unshared_bytes": 70_000_000,
            }
        },
    }
