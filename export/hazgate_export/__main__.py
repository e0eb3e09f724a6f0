"""The `hazgate-export` command, also as `python -m hazgate_export`."""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any, ClassVar

import click

from hazgate.cli.extras import requires
from hazgate.cli.group import ExitCodeGroup
from hazgate.engine.telemetry import disable_telemetry
from hazgate.errors import BundleError, HazgateError, InputError
from hazgate_export import __version__
from hazgate_export.errors import (
    DataError,
    ExitsUnproven,
    ExportError,
    ParityMissed,
    RecipeError,
    SourceError,
)
from hazgate_export.push import push

# Libraries that take seconds to load are imported by the command that needs them.

# The libraries that models are loaded and graphs are made with.
_BUILD = {
    "hazgate-export[build]": (
        "torch",
        "transformers",
        "peft",
        "optimum",
        "onnx_ir",
        "safetensors",
        "sklearn",
        "huggingface_hub",
    )
}


class ExportGroup(ExitCodeGroup):
    """The exporter's commands; a missed limit also shows its parity table."""

    exit_codes: ClassVar[tuple[tuple[type[Exception], int], ...]] = (
        (ParityMissed, 1),
        (ExitsUnproven, 1),
        (RecipeError, 2),
        (BundleError, 3),
        (SourceError, 4),
        (DataError, 4),
        (InputError, 4),
        (ExportError, 5),
        (HazgateError, 5),
        (OSError, 3),
    )

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the chosen command; see click.Group.invoke."""
        # The exporter reads the Hub only if a recipe says so, and never reports usage to it.
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        # Whichever library imports ONNX Runtime first.
        disable_telemetry()
        return super().invoke(ctx)

    def show(self, error: Exception) -> None:
        """Print the parity table of a missed limit, then the error."""
        if isinstance(error, ParityMissed) and error.parities:
            from hazgate_export.bundle.report import parity_table

            click.echo(parity_table(error.parities))
        super().show(error)


def _level_option(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Path]:
    pairs = [value.partition("=") for value in values]
    if not all(level and directory for level, _, directory in pairs):
        raise click.BadParameter("expected LEVEL=DIRECTORY")
    return {level: Path(directory) for level, _, directory in pairs}


def _shape_option(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", value)
    if not found:
        raise click.BadParameter("expected BATCHxTOKENS, e.g. 8x512")
    return int(found[1]), int(found[2])


_PATH = click.Path(path_type=Path)
_BASE = click.option("--base", type=_PATH, help="A local directory instead of the recipe's base.")
_ADAPTERS = click.option(
    "--adapter",
    "adapters",
    multiple=True,
    callback=_level_option,
    metavar="LEVEL=DIRECTORY",
    help="A local directory instead of the recipe's adapter; once per level.",
)
_CHECKPOINTS = click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    callback=_level_option,
    metavar="LEVEL=DIRECTORY",
    help="A local directory instead of the recipe's checkpoint; once per level.",
)


@click.group(
    cls=ExportGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 limit missed, 2 usage or recipe, 3 bundle or disk, 4 base, adapter "
    "or data, 5 anything else.",
)
@click.version_option(__version__, prog_name="hazgate-export")
def cli() -> None:
    """Merge LoRA adapters, export to ONNX, prove parity and write a hazgate bundle."""


@cli.command(epilog="Example: hazgate-export build export/recipes/mini.toml --out build/mini")
@click.argument("recipe", type=_PATH)
@click.option("--out", type=_PATH, help="The bundle directory.  [default: build/NAME]")
@_BASE
@_ADAPTERS
@_CHECKPOINTS
def build(
    recipe: Path,
    out: Path | None,
    base: Path | None,
    adapters: dict[str, Path],
    checkpoints: dict[str, Path],
) -> None:
    """Build the bundle of RECIPE and print its parity table.

    A bundle that misses a limit is not written.
    """
    from hazgate_export.bundle.report import exits_table, parity_table
    from hazgate_export.recipe_file import load_recipe

    with requires("build", _BUILD):
        from hazgate_export.build import build as run
        from hazgate_export.model.sources import LocalSources

    loaded = load_recipe(recipe)
    target = out or Path("build") / loaded.recipe.name
    local = LocalSources(base=base, adapters=adapters, checkpoints=checkpoints)
    built = run(loaded, target, local)
    click.echo(parity_table(built.parities))
    if built.exits:
        click.echo("\n" + exits_table(built.exits))
    click.echo(f"\n{target}  digest {built.bundle.digest}")
    if built.pins:
        click.echo(
            "\nTo pin the digest of every file that was read, put these tables in the place of "
            f"the sources in {recipe}:\n\n{built.pins}"
        )


@cli.command(epilog="Example: hazgate-export verify build/mini --recipe export/recipes/mini.toml")
@click.argument("bundle", type=_PATH)
@click.option("--recipe", type=_PATH, help="Compute the reference again from this recipe.")
@click.option(
    "--data",
    "data_files",
    type=_PATH,
    multiple=True,
    help="Labelled JSON Lines: also count what decisions and macro-F1 change. Needs --recipe.",
)
@click.option("--texts", default=4000, show_default=True, help="Labelled texts per level, at most.")
@_BASE
@_ADAPTERS
@_CHECKPOINTS
def verify(
    bundle: Path,
    recipe: Path | None,
    data_files: tuple[Path, ...],
    texts: int,
    base: Path | None,
    adapters: dict[str, Path],
    checkpoints: dict[str, Path],
) -> None:
    """Compare BUNDLE with its stored reference logits again, or with --recipe's model."""
    from hazgate.bundle.bundle import Bundle
    from hazgate_export.bundle.report import parity_table
    from hazgate_export.recipe_file import load_recipe

    with requires("verify", _BUILD):
        from hazgate_export.model.sources import LocalSources
        from hazgate_export.verify_bundle import verify_bundle

    if recipe is None and (base or adapters or checkpoints or data_files):
        raise click.UsageError("--base, --adapter, --checkpoint and --data need --recipe")
    loaded = load_recipe(recipe) if recipe else None
    opened = Bundle.open(bundle)
    local = LocalSources(base=base, adapters=adapters, checkpoints=checkpoints)
    parities = verify_bundle(opened, loaded, local)
    problems = [problem for parity in parities for problem in parity.problems]
    if problems:
        raise ParityMissed("\n".join(problems), parities)
    click.echo(parity_table(parities))
    if loaded and data_files:
        with requires("verify --data", _BUILD):
            from hazgate_export.proof.agreement import agreement_table, measure_agreement

        agreements = measure_agreement(opened, loaded, data_files, n_texts=texts, seed=0)
        click.echo(f"\n{agreement_table(agreements)}")
        problems = [problem for agreement in agreements for problem in agreement.problems]
        if problems:
            raise ParityMissed("\n".join(problems))


@cli.command(
    epilog="Example: hazgate-export finetune export/recipes/mini.toml --data train.jsonl "
    "--data export/training/contrast.jsonl"
)
@click.argument("recipe", type=_PATH)
@click.option(
    "--data",
    "data_files",
    type=_PATH,
    multiple=True,
    required=True,
    help="JSON Lines of labelled texts; may be repeated.",
)
@click.option(
    "--level",
    "levels",
    multiple=True,
    help="Train only the adapter of this level; may be repeated.  [default: all]",
)
@click.option(
    "--out", type=_PATH, help="Parent folder of the adapters.  [default: where RECIPE reads them]"
)
@click.option(
    "--work",
    type=_PATH,
    default=Path("build/finetune"),
    show_default=True,
    help="Folder of checkpoints; an interrupted run continues from them.",
)
@_BASE
def finetune(
    recipe: Path,
    data_files: tuple[Path, ...],
    levels: tuple[str, ...],
    out: Path | None,
    work: Path,
    base: Path | None,
) -> None:
    """Train the LoRA adapters of RECIPE and write each with its card."""
    from hazgate_export.recipe_file import load_recipe

    with requires("finetune", _BUILD):
        from hazgate_export.finetune.finetune_recipe import finetune_recipe

    for result in finetune_recipe(load_recipe(recipe), data_files, levels, out, work, base):
        click.echo(f"{result.directory}: {result.epochs} epochs, see its README.md")


@cli.command(epilog="Example: hazgate-export inspect build/mini/level1-int8.onnx")
@click.argument("graph", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def inspect(graph: Path, as_json: bool) -> None:
    """Print the operators, weights and signature of an ONNX GRAPH."""
    from google.protobuf.message import DecodeError

    from hazgate_export.graphs.inspect_graph import summarise

    try:
        summary = summarise(graph)
    except DecodeError as error:
        raise BundleError(f"{graph} is not an ONNX file") from error
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), indent=2))
        return
    branches = f", {summary.n_branch_nodes} of them in branches" * bool(summary.n_branch_nodes)
    click.echo(f"opset {summary.opset}, {summary.n_nodes} nodes{branches}")
    for title, items in (("in", summary.inputs), ("out", summary.outputs)):
        for name, shape in items.items():
            click.echo(f"{title:4}{name}: {shape}")
    for kind, size_bytes in summary.weight_bytes.items():
        click.echo(f"{size_bytes / 1e6:10.2f} MB {kind}")
    for operator, n_nodes in summary.operators.items():
        click.echo(f"{n_nodes:10} {operator}")


@cli.command(epilog="Example: hazgate-export preflight build/mlcommons --target migraphx@1.23.2")
@click.argument("path", type=_PATH)
@click.option(
    "--target",
    "names",
    multiple=True,
    required=True,
    help="A release of an execution provider; may be repeated.",
)
@click.option(
    "--shape",
    callback=_shape_option,
    metavar="BATCHxTOKENS",
    help="Shape of the inputs.  [default: 8x512; in a bundle, its windows' tokens]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def preflight(
    path: Path, names: tuple[str, ...], shape: tuple[int, int] | None, as_json: bool
) -> None:
    """Tell whether an execution provider would take PATH, a graph or a bundle, whole.

    Needs none of its hardware. In a bundle, checks the variants for the target's provider.
    """
    from hazgate_export.preflight.rules import preflight_document, preflight_table
    from hazgate_export.preflight.run import preflight_path
    from hazgate_export.preflight.table import find_target

    found = preflight_path(path, [find_target(name) for name in names], shape)
    click.echo(
        json.dumps(preflight_document(found), indent=2) if as_json else preflight_table(found)
    )
    missed = [result for result in found if result.verdict != "one subgraph"]
    if missed:
        raise ParityMissed(f"{len(missed)} of {len(found)} would not run as one subgraph")


@cli.command(epilog="Example: hazgate-export standin build/standin")
@click.argument("folder", type=_PATH)
@click.option("--tokenizer", type=_PATH, help="A tokenizer.json of Gemma's 256,000 tokens to use.")
def standin(folder: Path, tokenizer: Path | None) -> None:
    """Write a full-size stand-in for the production models: their shape, random weights."""
    from hazgate_export.proof.texts import load_proof_texts

    with requires("standin", _BUILD):
        from hazgate_export.model import standin as standins

    standins.write_standin(
        folder,
        standins.mmbert_config(),
        texts=[text.text for text in load_proof_texts()],
        base_id=standins.MMBERT_ID,
        levels=standins.production_levels(),
        lora_targets=standins.MMBERT_LORA_TARGETS,
        lora_rank=standins.MMBERT_LORA_RANK,
        tokenizer_file=tokenizer,
    )


cli.add_command(push)


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
