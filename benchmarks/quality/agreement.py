"""`python -m benchmarks.quality.agreement`: decisions of mini's variants on labelled texts."""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.harness.machine import today
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.store import RESULTS, SCHEMA_VERSION, load, save
from hazgate import Bundle, HazgateError
from hazgate_export.errors import ExportError
from hazgate_export.proof.agreement import Agreement, agreement_table, measure_agreement
from hazgate_export.recipe import load_recipe

_RECIPE = REPOSITORY / "export" / "recipes" / "mini.toml"
_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementResults:
    """Everything that one run measured."""

    schema_version: int
    bundle_digest: str
    date: str
    command: str
    agreements: tuple[Agreement, ...]


def agreement_text(results: AgreementResults) -> str:
    """The table, with the command that repeats it."""
    return f"{agreement_table(results.agreements)}\n\n{results.date}, `{results.command}`."


@click.command(epilog="Example: python -m benchmarks.quality.agreement --data train.jsonl")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The labelled rows that mini's adapters were trained from.",
)
@click.option("--texts", type=click.IntRange(min=1), default=4000, show_default=True)
def agreement(data: Path, texts: int) -> None:
    """Hold the variants of `build/mini` to the recipe's gates on texts of DATA."""
    try:
        bundle = Bundle.open(REPOSITORY / "build" / "mini")
        found = measure_agreement(bundle, load_recipe(_RECIPE), [data], n_texts=texts, seed=_SEED)
    except (HazgateError, ExportError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    file = RESULTS / "agreement-mini.json"
    save(
        AgreementResults(
            schema_version=SCHEMA_VERSION,
            bundle_digest=bundle.digest,
            date=today(),
            command=f"python -m benchmarks.quality.agreement --data {data.name} --texts {texts}",
            agreements=found,
        ),
        file,
    )
    click.echo(f"{agreement_text(load(AgreementResults, file))}\n\n{file}")


if __name__ == "__main__":
    agreement()
