"""What an engine's worker and its parent say to each other; see `benchmarks.harness.messages`."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.engines.systems import EngineSpec
from benchmarks.engines.workloads import Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """The first request: which engine, and everything that it will be asked about."""

    engine: EngineSpec
    threads: int
    vocab_size: int
    workloads: tuple[Workload, ...]
    cases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The reply to it, once the model is loaded and has given its first answer."""

    load_s: float
    rss_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Every later request; "time" makes `n_calls` timed calls of a workload."""

    action: Literal["time", "logits", "memory"]
    name: str = ""
    n_calls: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Resident set now, and the greatest so far."""

    rss_bytes: int
    peak_bytes: int
