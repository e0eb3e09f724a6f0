"""`python -m benchmarks.speed.report`: the tables and the plot of a results file."""

import sys
from pathlib import Path

import click

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.store import RESULTS, Comparison, load
from benchmarks.speed.tables import full_table, parity_summary


@click.command(epilog="Example: python -m benchmarks.speed.report benchmarks/results/mini.json")
@click.argument("file", type=click.Path(path_type=Path), default=RESULTS / "mini.json")
def report(file: Path) -> None:
    """Print the tables of FILE and draw its latencies into a PNG beside it."""
    from benchmarks.speed.plot import draw_latency

    try:
        results = load(Comparison, file)
    except BenchmarkError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(f"{full_table(results)}\n\n{parity_summary(results)}\n")
    target = file.with_name(f"{file.stem}-latency.png")
    draw_latency(results, target)
    click.echo(target)


if __name__ == "__main__":
    report()
