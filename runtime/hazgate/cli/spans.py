"""Output of a token level: the spans of each text, as JSON Lines or as a table."""

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hazgate.cli.progress import counted
from hazgate.cli.rows import Row
from hazgate.token_classifier import TokenClassifier, TokenResult


def print_spans(
    level: TokenClassifier,
    chunks: Iterable[Sequence[Row]],
    n_rows: int | None,
    *,
    pass_through: bool,
    table: bool,
) -> None:
    """Print the spans of each row's text, in the order of the rows.

    Args:
        level: finds the spans.
        chunks: rows that are read together.
        n_rows: number of all rows, for the progress bar; None if it is not known.
        pass_through: copy a row's other fields to `input`.
        table: print a table instead of JSON Lines.

    Raises:
        InputError: a text is too long; says which.
        InferenceError: the model failed.
    """
    shown: list[tuple[Row, TokenResult]] = []
    with counted(n_rows, "classify") if n_rows else nullcontext() as advance:
        for chunk in chunks:
            results = level.find_many([row.text for row in chunk])
            for row, result in zip(chunk, results, strict=True):
                if table:
                    shown.append((row, result))
                    continue
                data: dict[str, Any] = result.to_dict()
                if pass_through:
                    data["input"] = dict(row.rest)
                # ASCII: any terminal can print it, and a field with a lone surrogate survives.
                click.echo(json.dumps(data))
            if advance is not None:
                advance(len(chunk))
    if table:
        Console().print(_table(shown))


def _table(shown: Sequence[tuple[Row, TokenResult]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("text", "spans, scores"):
        table.add_column(title, overflow="fold")
    for row, result in shown:
        spans = [
            f"{span.label} {' '.join(row.text[span.start : span.end].split())} {span.score:.3f}"
            for span in result.spans
        ]
        if not result.understood:
            spans.append("not understood")
        table.add_row(Text(" ".join(row.text.split())[:60]), Text("\n".join(spans) or "none"))
    return table
