"""Messages between a worker and its parent: one line of JSON each way.

A reply is `{"body": …}` with one of the types below, or `{"error": …}` with the reason.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from benchmarks.harness.errors import WorkerFailed
from hazgate.documents.decode import decode

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The reply to a worker's setup, once its system can answer.

    `load_s` is the seconds that opening the system took, `rss_bytes` the resident set after it,
    `size_bytes` the size of the system's model files.
    """

    load_s: float
    rss_bytes: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRequest:
    """A request to a system under test, after its setup.

    "time" makes `n_warm` untimed and then `n_calls` timed calls of the case `name`, from its
    first call on and in a circle. "logits" asks for the logits of the level `name` on the
    setup's rows, "memory" for the process's resident sets.
    """

    action: Literal["time", "logits", "memory"]
    name: str = ""
    n_warm: int = 0
    n_calls: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """The reply to "time": seconds of each timed call."""

    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Logits:
    """The reply to "logits": one row of logits per text."""

    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The reply to "memory": the resident set now, and the greatest so far."""

    rss_bytes: int
    peak_bytes: int


def parse(kind: type[T], data: object) -> T:
    """Return the message of type `kind` that `data` spells.

    Raises:
        WorkerFailed: `data` spells none: parent and worker are of different versions.
    """
    problems: list[str] = []
    message = decode(kind, data, problems)
    if message is None:
        raise WorkerFailed(f"expected a {kind.__name__}: {'; '.join(problems[:5])}")
    return message
