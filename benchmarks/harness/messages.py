"""What a worker and its parent say to each other: one line of JSON each way.

A reply is `{"body": …}` with one of the types below, or `{"error": …}` with what went wrong.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from benchmarks.harness.errors import WorkerFailed
from benchmarks.speed.systems import ModelFiles, SystemSpec
from benchmarks.speed.workloads import Workload
from hazgate.documents.decode import decode

T = TypeVar("T")


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
class Timed:
    """Seconds of each timed call."""

    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Logits:
    """Logits of the cases, one row each."""

    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """The process's greatest resident set so far."""

    rss_bytes: int


def parse(kind: type[T], data: object) -> T:
    """The message of type `kind` that `data` spells.

    Raises:
        WorkerFailed: it spells none, so parent and worker are of different versions.
    """
    problems: list[str] = []
    message = decode(kind, data, problems)
    if message is None:
        raise WorkerFailed(f"expected a {kind.__name__}: {'; '.join(problems[:5])}")
    return message
