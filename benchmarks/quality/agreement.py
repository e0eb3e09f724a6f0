"""`python -m benchmarks.quality.agreement`: decisions of mini's variants on labelled texts."""

from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate import Bundle
from hazgate_export.proof.agreement import Agreement, agreement_table, measure_agreement
from hazgate_export.recipe_file import load_recipe

_RECIPE = REPOSITORY / "export" / "recipes" / "mini.toml"
_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementResults:
    """All that one run measured."""

    header: ResultHeader
    agreements: tuple[Agreement, ...]


def agreement_text(results: AgreementResults) -> str:
    """Return the table, with the command that repeats it."""
    return f"{agreement_table(results.agreements)}\n\n{results.header.origin}"


@click.command(epilog="Example: python -m benchmarks.quality.agreement --data train.jsonl")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Labelled rows that mini's adapters were trained from.",
)
@click.option("--texts", type=click.IntRange(min=1), default=4000, show_default=True)
@refusals()
def agreement(data: Path, texts: int) -> None:
    """Compare decisions of `build/mini`'s variants with the recipe's limits on texts of DATA."""
    bundle = Bundle.open(REPOSITORY / "build" / "mini")
    found = measure_agreement(bundle, load_recipe(_RECIPE), [data], n_texts=texts, seed=_SEED)
    command = f"python -m benchmarks.quality.agreement --data {data.name} --texts {texts}"
    results = AgreementResults(
        header=header(bundle.manifest.name, command, digest=bundle.digest), agreements=found
    )
    publish(results, RESULTS / "agreement-mini.json", agreement_text)


REGIONS: Regions = {
    "agreement-mini": region("agreement-mini.json", AgreementResults, agreement_text)
}


if __name__ == "__main__":
    agreement()
