"""Endings of commands: one message and an exit code, or saved results and their tables."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.store import Results, load, save
from hazgate.errors import HazgateError
from hazgate_export.errors import ExportError

R = TypeVar("R", bound=Results)

Draw = Callable[[R, Path], object]


@contextmanager
def refusals(*, exit_code: int = 1) -> Iterator[None]:
    """Turn an error into one line on standard error and `exit_code`; also a decorator."""
    try:
        yield
    except (BenchmarkError, HazgateError, ExportError, OSError) as error:
        fail(str(error), exit_code=exit_code)


def fail(message: str, *, exit_code: int = 1) -> None:
    """Print an error and end the process with `exit_code`."""
    click.echo(f"error: {message}", err=True)
    sys.exit(exit_code)


def publish(
    results: R, file: Path, tables: Callable[[R], str], draw: "Draw[R] | None" = None
) -> None:
    """Save results, then print the tables and draw the figure of what the file holds.

    Args:
        results: the results of this run.
        file: where they are written.
        tables: makes their tables, in Markdown.
        draw: draws their figure into a file, whose name is `file`'s with the suffix .png.
    """
    save(results, file)
    read = load(type(results), file)
    click.echo(f"{tables(read)}\n\n{file}")
    if draw is not None:
        picture = file.with_suffix(".png")
        draw(read, picture)
        click.echo(str(picture))
