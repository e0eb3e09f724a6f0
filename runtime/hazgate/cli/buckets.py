"""`hazgate buckets`: which shapes a compiling provider should be given for a traffic."""

import json
from pathlib import Path

import click

from hazgate.engine.buckets import plan_buckets
from hazgate.errors import InputError


@click.command(epilog="Example: hazgate buckets --from lengths.jsonl --count 5 --max-tokens 512")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help='A line a text: its tokens, as a number or as {"tokens": N}.',
)
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--max-tokens", type=click.IntRange(min=1), default=512, show_default=True)
def buckets(source: Path, count: int, max_tokens: int) -> None:
    """Print the lengths of COUNT buckets that pad such texts the least, and how much."""
    plan = plan_buckets(read_lengths(source), count, max_tokens)
    click.echo(
        json.dumps({"tokens": list(plan.tokens), "padding_share": round(plan.padding_share, 4)})
    )


def read_lengths(file: Path) -> list[int]:
    """Tokens of each text in a file.

    Raises:
        InputError: lines are something else; the first of them are named.
    """
    lengths, problems = [], []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            value = value.get("tokens")
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            lengths.append(value)
        else:
            problems.append(f"line {number}: expected a positive number of tokens")
    if problems:
        shown = problems[:20]
        more = f"; and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        raise InputError("; ".join(shown) + more)
    return lengths
