"""`python -m benchmarks.speed.report`: the tables and the plot of a results file."""

from pathlib import Path

import click

from benchmarks.harness.command import refusals
from benchmarks.harness.store import RESULTS, load
from benchmarks.speed.results import SpeedResults
from benchmarks.speed.tables import full_table, parity_summary


@click.command(epilog="Example: python -m benchmarks.speed.report benchmarks/results/mini.json")
@click.argument("file", type=click.Path(path_type=Path), default=RESULTS / "mini.json")
@refusals()
def report(file: Path) -> None:
    """Print the tables of FILE and draw its latencies into a PNG in the same folder."""
    from benchmarks.speed.plot import draw_latency

    results = load(SpeedResults, file)
    click.echo(f"{full_table(results)}\n\n{parity_summary(results)}\n")
    target = file.with_name(f"{file.stem}-latency.png")
    draw_latency(results, target)
    click.echo(target)


if __name__ == "__main__":
    report()
