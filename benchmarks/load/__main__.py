"""`python -m benchmarks.load`: hazgate and its peers under open-loop load."""

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.store import RESULTS
from benchmarks.load.measure import measure_load
from benchmarks.load.report import draw_load, load_table
from benchmarks.load.systems import load_specs
from hazgate.engine.processor import n_processors

_RECIPE = REPOSITORY / "export" / "recipes" / "mini.toml"


@click.command(epilog="Example: python -m benchmarks.load --variant int8-fused --seconds 15")
@click.option(
    "--variant", default="int8-fused", show_default=True, help="The bundle's variant, both levels."
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
@click.option("--only", multiple=True, help="Name of a system to measure; repeatable.")
@refusals()
def main(
    variant: str, seconds: float, threads: int | None, overhead_rounds: int, only: tuple[str, ...]
) -> None:
    """Load `build/mini` and its peers, write the results, print the tables and draw the figure.

    With --only nothing is written.
    """
    specs = [spec for spec in load_specs(variant) if not only or spec.name in only]
    if not specs:
        known = ", ".join(spec.name for spec in load_specs(variant))
        raise click.UsageError(f"--only {', '.join(only)}: no such system; expected one of {known}")
    results = measure_load(
        REPOSITORY / "build" / "mini",
        _RECIPE,
        specs,
        variant=variant,
        seconds=seconds,
        threads=threads or n_processors(),
        overhead_rounds=overhead_rounds,
        command=f"python -m benchmarks.load --variant {variant} --seconds {seconds:g}",
    )
    if only:
        click.echo(load_table(results))
    else:
        publish(results, RESULTS / "load-mini.json", load_table, draw_load)


if __name__ == "__main__":
    main()
