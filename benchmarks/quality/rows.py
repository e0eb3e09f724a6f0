"""The labelled rows that a benchmark of quality asks about, and the options that name them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from benchmarks.harness.errors import BenchmarkError
from hazgate_evaluation.rows import LabelledRow, LabelNames, read_labelled

Command = TypeVar("Command", bound=Callable[..., object])


def row_options(command: Command) -> Command:
    """Give a command the options `--data` and `--source`, the latter any number of times."""
    command = click.option(
        "--source", "sources", multiple=True, help="Rows of these sources.  [default: all]"
    )(command)
    return click.option(
        "--data",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=True,
        help="Labelled rows, as for `hazgate evaluate`.",
    )(command)


def spelt_options(data: Path, sources: Sequence[str]) -> str:
    """Return the options as they are typed; of the file, its name alone."""
    return " ".join((f"--data {data.name}", *(f"--source {source}" for source in sources)))


def english_rows(data: Path, names: LabelNames, sources: Sequence[str]) -> tuple[LabelledRow, ...]:
    """Read the English rows whose safety is known, of the sources if any are named.

    Args:
        data: JSON Lines, as for `hazgate evaluate`.
        names: the labels that rows may have.
        sources: names of sources; empty for all.

    Raises:
        BenchmarkError: there are not rows of both classes.
        InputError: the file is malformed.
    """
    rows = tuple(
        row
        for row in read_labelled(data, names).rows
        if row.lang == "en" and row.level1 and (not sources or row.source in sources)
    )
    if len({row.level1 for row in rows}) < 2:
        raise BenchmarkError(f"{data.name}: no safe and unsafe English rows are of these sources")
    return rows
