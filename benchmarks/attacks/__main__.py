"""`python -m benchmarks.attacks`: attack a server beside honest requests."""

import dataclasses
from pathlib import Path

import click

from benchmarks.attacks.attacks import ATTACKS
from benchmarks.attacks.measure import measure_attacks
from benchmarks.attacks.results import FILE, AttackResults, attack_table
from benchmarks.harness.command import refusals
from benchmarks.harness.store import RESULTS, load, save


@click.command(epilog="Example: python -m benchmarks.attacks build/mini --seconds 20")
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seconds", type=click.FloatRange(min=0.5), default=20, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    default=20,
    show_default=True,
    help="Honest requests a second.",
)
@click.option("--only", multiple=True, help="Name of an attack; repeatable.")
@click.option(
    "--runtime",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Attack the server of another checkout: its folder `runtime`. Needs --out and --label.",
)
@click.option("--label", help="Says which server --runtime is, e.g. a version or a commit.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Results file.  [default: benchmarks/results/attacks-mini.json]",
)
@click.option(
    "--before",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Results of --runtime, to put beside these.",
)
@refusals()
def main(
    bundle: Path,
    seconds: float,
    rate: float,
    only: tuple[str, ...],
    runtime: Path | None,
    label: str | None,
    out: Path | None,
    before: Path | None,
) -> None:
    """Attack `hazgate serve BUNDLE`, write the results after each attack, and print the table.

    With --only nothing is written unless --out says where.
    """
    if runtime is not None and (out is None or label is None):
        raise click.UsageError("--runtime: expected --out and --label, too")
    older = None if before is None else load(AttackResults, before)
    file = RESULTS / FILE if out is None and not only else out
    for results in measure_attacks(
        bundle,
        only or [attack.name for attack in ATTACKS],
        seconds=seconds,
        rate=rate,
        runtime=runtime,
        label=label or "this version",
        command=f"python -m benchmarks.attacks build/mini --seconds {seconds:g} --rate {rate:g}",
    ):
        if older is not None:
            results = dataclasses.replace(results, before=older.attacks, before_label=older.label)
        # A run takes a quarter of an hour; one that is interrupted leaves what it measured.
        if file is not None:
            save(results, file)
    click.echo(attack_table(results))
    if file is not None:
        click.echo(f"\n{file}")


if __name__ == "__main__":
    main()
