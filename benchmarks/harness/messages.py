"""What a worker and its parent say to each other: one line of JSON each way.

A reply is `{"body": …}` with one of the types below, or `{"error": …}` with what went wrong.
"""

from dataclasses import dataclass
from typing import TypeVar

from benchmarks.harness.errors import WorkerFailed
from hazgate.documents.decode import decode

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """Seconds of each timed call."""

    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Logits:
    """Logits of the cases, one row each."""

    rows: tuple[tuple[float, ...], ...]


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
