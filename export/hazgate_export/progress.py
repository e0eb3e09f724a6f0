"""Progress bars on standard error for work that a person waits for."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

T = TypeVar("T")


def track(items: Sequence[T], description: str) -> Iterator[T]:
    """The items, with a bar that advances as they are taken."""
    columns = (
        "{task.description:<42}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, description=description)


def step(description: str) -> None:
    """Says on standard error which step begins."""
    Console(stderr=True).print(description, highlight=False, markup=False)
