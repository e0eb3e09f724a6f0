"""`python -m benchmarks.load`: hazgate and its peers under open-loop load."""

import sys

import click

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.store import RESULTS, load, save
from benchmarks.load.measure import measure_load
from benchmarks.load.report import load_figure, load_table
from benchmarks.load.results import LoadResults
from benchmarks.load.systems import systems_of
from hazgate.engine.session import default_threads
from hazgate.errors import HazgateError
from hazgate_export.errors import ExportError

_RECIPE = REPOSITORY / "export" / "recipes" / "mini.toml"


@click.command(epilog="Example: python -m benchmarks.load --variant int8-fused --seconds 15")
@click.option(
    "--variant", default="int8-fused", show_default=True, help="The bundle's, both levels."
)
@click.option("--seconds", type=click.FloatRange(min=1), default=15, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="[default: every processor]")
@click.option(
    "--overhead-rounds",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="How often each text is asked directly, embedded and over HTTP.",
)
@click.option("--only", multiple=True, help="A system's name; several may be given.")
def main(
    variant: str, seconds: float, threads: int | None, overhead_rounds: int, only: tuple[str, ...]
) -> None:
    """Load `build/mini` and its peers, write the results, print the tables and draw the figure.

    With --only nothing is written.
    """
    specs = [spec for spec in systems_of(variant) if not only or spec.name in only]
    if not specs:
        known = ", ".join(spec.name for spec in systems_of(variant))
        raise click.UsageError(f"no such system; there are {known}")
    try:
        results = measure_load(
            REPOSITORY / "build" / "mini",
            _RECIPE,
            specs,
            variant=variant,
            seconds=seconds,
            threads=threads or default_threads(),
            overhead_rounds=overhead_rounds,
            command=f"python -m benchmarks.load --variant {variant} --seconds {seconds:g}",
        )
    except (BenchmarkError, HazgateError, ExportError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    if only:
        click.echo(load_table(results))
        return
    file = RESULTS / "load-mini.json"
    save(results, file)
    results = load(LoadResults, file)
    load_figure(results).savefig(file.with_suffix(".png"), metadata={"Software": None})
    click.echo(f"{load_table(results)}\n\n{file}")


if __name__ == "__main__":
    main()
