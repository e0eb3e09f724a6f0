"""`hazgate buckets`: the best shapes to compile for a given traffic."""

import json
from pathlib import Path

import click

from hazgate.documents.jsonl import LineError, checked_rows, parse_value
from hazgate.engine.buckets import plan_buckets


@click.command(epilog="Example: hazgate buckets --from lengths.jsonl --count 5 --max-tokens 512")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help='A file with one line per text: its number of tokens, as N or as {"tokens": N}.',
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of lengths to choose.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Longest row that the gate reads; longer texts count as this long.",
)
def buckets(source: Path, count: int, max_tokens: int) -> None:
    """Print the COUNT bucket lengths that pad these texts least, and the share of padding."""
    plan = plan_buckets(read_lengths(source), count, max_tokens)
    click.echo(
        json.dumps({"tokens": list(plan.tokens), "padding_share": round(plan.padding_share, 4)})
    )


def read_lengths(file: Path) -> list[int]:
    """Return the number of tokens of each text in a file.

    Raises:
        InputError: a line is something else; names the first of them.
    """
    return list(checked_rows(file, _tokens))


def _tokens(_number: int, line: bytes) -> int:
    value = parse_value(line)
    if isinstance(value, dict):
        value = value.get("tokens")
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise LineError("expected a positive number of tokens")
