"""Progress bars on standard error for work that a person waits for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

T = TypeVar("T")


def track(items: Sequence[T], description: str) -> Iterator[T]:
    """The items, with a bar that advances as they are taken."""
    with _bar() as progress:
        yield from progress.track(items, description=description)


@contextmanager
def counted(total: int, description: str) -> Iterator[Callable[[int], None]]:
    """A bar of `total` steps; what it gives is told how many more were made."""
    with _bar() as progress:
        task = progress.add_task(description, total=total)
        yield lambda n: progress.advance(task, n)


def step(description: str) -> None:
    """Says on standard error which step begins."""
    Console(stderr=True).print(description, highlight=False, markup=False)


def _bar() -> Progress:
    columns = (
        "{task.description:<42}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))
