"""Progress bars on standard error, for work that a person waits for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def bar() -> Progress:
    """Return a bar with counts and the time that remains; tasks may set the field `rate`."""
    return Progress(
        "{task.description:<28}",
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def track(items: Sequence[T], description: str) -> Iterator[T]:
    """Yield the items and advance a bar as they are taken."""
    with counted(len(items), description) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def counted(total: int, description: str) -> Iterator[Callable[[int], None]]:
    """Show a bar of `total` steps; call the result with the number of steps just done."""
    with begin_tasks() as begin:
        yield begin(description, total)


@contextmanager
def begin_tasks() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Show one bar per task; call the result with a task's title and its number of steps."""
    with bar() as progress:

        def begin(description: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(description, total=total, rate="")
            return lambda n: progress.advance(task, n)

        yield begin


def step(description: str) -> None:
    """Say on standard error which step begins."""
    Console(stderr=True).print(description, highlight=False, markup=False)
