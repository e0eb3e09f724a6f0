"""`python -m benchmarks.engines.run`: every engine on one level, side by side."""

import shutil
import tempfile
from pathlib import Path

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.store import RESULTS
from hazgate.engine.processor import n_processors

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
@click.option("--compile", "compile_too", is_flag=True, help="Also measure torch.compile.")
@click.option("--out", type=_PATH, help="[default: benchmarks/results/engines-SIZE.json]")
@refusals()
def run(
    size: str,
    rounds: int,
    threads: int | None,
    max_tokens: int,
    level: str,
    compile_too: bool,
    out: Path | None,
) -> None:
    """Time one level in every engine, write the results, print the tables, draw the figure.

    `mini` is the bundle of `make export`; `full` the stand-in of `make rehearse`.
    """
    # They load PyTorch, which `--help` need not wait for.
    from benchmarks.engines.compare import EngineSubject, compare_engines
    from benchmarks.engines.plot import draw_engines
    from benchmarks.engines.report import summary
    from benchmarks.engines.workloads import grid, stream
    from hazgate.bundle.bundle import Bundle

    budget = threads or n_processors()
    lengths = [tokens for tokens in _LENGTHS[size] if tokens <= max_tokens]
    build = REPOSITORY / "build"
    place = build / "rehearsal" if size == "full" else build
    bundle = Bundle.open(place / ("bundle" if size == "full" else "mini"))
    merged = build / "engines" / size / bundle.digest[:16] / "merged"
    if not merged.is_dir():
        _merge(size, level, merged)
    results = compare_engines(
        EngineSubject(
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
    publish(results, out or RESULTS / f"engines-{size}.json", summary, draw_engines)


def _merge(size: str, level: str, target: Path) -> None:
    """Write the level's merged model into `target`, or nothing."""
    from benchmarks.speed.merge import merge_levels
    from hazgate_export.model.sources import LocalSources

    recipe, local = _MINI, LocalSources()
    if size == "full":
        standin = REPOSITORY / "build" / "rehearsal" / "standin"
        recipe = _MINI.with_name("mlcommons.toml")
        local = LocalSources(base=standin / "base", adapters={level: standin / level})
    with tempfile.TemporaryDirectory(prefix="hazgate-engines-") as folder:
        merge_levels(recipe, local, [level], Path(folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, target)


if __name__ == "__main__":
    run()
