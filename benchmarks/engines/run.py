"""`python -m benchmarks.engines.run`: every engine on one level, side by side."""

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.process import REPOSITORY
from hazgate.engine.session import default_threads
from hazgate.errors import HazgateError
from hazgate_export.errors import ExportError

_MINI = REPOSITORY / "export" / "recipes" / "mini.toml"
_PATH = click.Path(path_type=Path)
_LENGTHS = {"mini": (16, 32, 64, 128, 256), "full": (16, 64, 128, 512, 2048, 8192)}
_BATCHES = {
    "mini": ((8, 16), (32, 16), (8, 128), (32, 128)),
    "full": ((8, 16), (8, 128), (32, 128)),
}
_STREAM = {"mini": 1000, "full": 100}


@click.command(epilog="Example: python -m benchmarks.engines.run --size mini --rounds 5")
@click.option("--size", type=click.Choice(["mini", "full"]), default="mini", show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="[default: every processor]")
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=8192,
    show_default=True,
    help="Leave out longer inputs: at 8192 tokens an engine may take minutes.",
)
@click.option("--level", default="level2", show_default=True)
@click.option("--compile", "compile_too", is_flag=True, help="Measure torch.compile, too.")
@click.option("--out", type=_PATH, help="[default: benchmarks/results/engines-SIZE.json]")
def run(
    size: str,
    rounds: int,
    threads: int | None,
    max_tokens: int,
    level: str,
    compile_too: bool,
    out: Path | None,
) -> None:
    """Time one level in every engine, write the results and print the tables.

    `mini` is the bundle of `make export`; `full` the stand-in of `make rehearse`.
    """
    from benchmarks.engines.compare import Subject, compare_engines
    from benchmarks.engines.workloads import grid, stream
    from benchmarks.harness.store import RESULTS, save
    from hazgate.bundle.bundle import Bundle

    budget = threads or default_threads()
    lengths = [tokens for tokens in _LENGTHS[size] if tokens <= max_tokens]
    build = REPOSITORY / "build"
    place = build / "rehearsal" if size == "full" else build
    try:
        bundle = Bundle.open(place / ("bundle" if size == "full" else "mini"))
        with tempfile.TemporaryDirectory(prefix="hazgate-engines-") as folder:
            merged = build / "engines" / size / bundle.digest[:16] / "merged"
            if not merged.is_dir():
                _merge(size, level, Path(folder), merged)
            results = compare_engines(
                Subject(
                    name=bundle.manifest.name if size == "mini" else f"{size}-size stand-in",
                    level=level,
                    merged=merged / level,
                    bundle=bundle,
                    forms=merged.parent / level,
                ),
                (*grid(lengths, _BATCHES[size]), *stream(_STREAM[size])),
                rounds=rounds,
                threads=budget,
                compile_too=compile_too,
                command=f"python -m benchmarks.engines.run --size {size} --rounds {rounds} "
                f"--threads {budget} --max-tokens {max_tokens}" + " --compile" * compile_too,
            )
    except (BenchmarkError, HazgateError, ExportError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    target = out or RESULTS / f"engines-{size}.json"
    save(results, target)
    show(target)


def _merge(size: str, level: str, folder: Path, target: Path) -> None:
    """Writes the merged models in a child that gives its memory back."""
    import json

    from benchmarks.speed.systems import ModelFiles
    from hazgate.cli.progress import step
    from hazgate.documents.decode import encode
    from hazgate_export.build import LocalSources, fetch_level
    from hazgate_export.recipe import load_recipe

    recipe = _MINI if size == "mini" else _MINI.with_name("mlcommons.toml")
    loaded = load_recipe(recipe)
    standin = REPOSITORY / "build" / "rehearsal" / "standin"
    local = (
        LocalSources()
        if size == "mini"
        else LocalSources(base=standin / "base", adapters={level: standin / level})
    )
    base, adapter = fetch_level(loaded, level, local)
    files = ModelFiles(
        recipe=str(recipe),
        bundle="",
        base=str(base.directory),
        adapters={level: str(adapter.directory)},
        merged=str(folder),
    )
    step("merge the adapter for the peers")
    subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.merged"],
        input=json.dumps(encode(files)),
        encoding="utf-8",
        cwd=REPOSITORY,
        check=True,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    import shutil

    shutil.copytree(folder, target)


def show(file: Path) -> None:
    """Prints the tables of a results file and draws its figure beside it."""
    from benchmarks.engines.plot import draw_engines
    from benchmarks.engines.report import summary
    from benchmarks.engines.results import EngineComparison
    from benchmarks.harness.store import load

    results = load(EngineComparison, file)
    click.echo(summary(results))
    target = file.with_suffix(".png")
    draw_engines(results, target)
    click.echo(f"\n{file}\n{target}")


if __name__ == "__main__":
    run()
