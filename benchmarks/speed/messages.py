"""Messages between a system's worker and its parent; see `benchmarks.harness.messages`."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.speed.systems import ModelFiles, SystemSpec
from benchmarks.speed.workloads import Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """The first request: which system, and everything it will be asked about.

    `cases` are the tokenised texts on which answers are compared.
    """

    system: SystemSpec
    files: ModelFiles
    threads: int
    workloads: tuple[Workload, ...]
    cases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The reply to it, once both levels are loaded."""

    size_bytes: int
    rss_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Every later request.

    "warm" and "time" run the workload `name`; "logits" asks for those of the level `name` on
    the cases; "peak" for the most memory that the process ever held.
    """

    action: Literal["warm", "time", "logits", "peak"]
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """The process's greatest resident set so far."""

    rss_bytes: int
