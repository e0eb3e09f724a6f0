"""`python -m benchmarks.speed.run`: PyTorch and hazgate on the same texts, side by side."""

from pathlib import Path

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.store import RESULTS
from benchmarks.speed.workloads import CALLS_PER_ROUND
from hazgate.engine.processor import n_processors

# Five rounds of the default model take some three and a half minutes on two processors.
DEFAULT_ROUNDS = 5
_MINI = REPOSITORY / "export" / "recipes" / "mini.toml"
_PATH = click.Path(path_type=Path)


@click.command(epilog="Example: python -m benchmarks.speed.run --rounds 5 --threads 2")
@click.option("--recipe", type=_PATH, default=_MINI, help="The bundle's recipe.")
@click.option("--bundle", type=_PATH, help="The bundle directory.  [default: build/NAME]")
@click.option("--rounds", type=click.IntRange(min=1), default=DEFAULT_ROUNDS, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="[default: every processor]")
@click.option("--out", type=_PATH, help="[default: benchmarks/results/NAME.json]")
@refusals()
def run(
    recipe: Path, bundle: Path | None, rounds: int, threads: int | None, out: Path | None
) -> None:
    """Time PyTorch and every variant of a bundle, write the results and print the table."""
    # They load PyTorch, which `--help` need not wait for.
    from benchmarks.speed.compare import compare
    from benchmarks.speed.tables import full_table
    from hazgate.bundle.bundle import Bundle
    from hazgate_export.recipe_file import load_recipe

    budget = threads or n_processors()
    name = load_recipe(recipe).recipe.name
    results = compare(
        recipe,
        Bundle.open(bundle or Path("build") / name),
        rounds=rounds,
        threads=budget,
        calls=CALLS_PER_ROUND,
        command=command_line(recipe, rounds=rounds, threads=budget),
    )
    publish(results, out or RESULTS / f"{name}.json", full_table)


def command_line(recipe: Path, *, rounds: int, threads: int) -> str:
    """Return the command that repeats a run, without this machine's paths."""
    file = recipe.resolve()
    inside = file.is_relative_to(REPOSITORY)
    shown = file.relative_to(REPOSITORY).as_posix() if inside else file.name
    return f"python -m benchmarks.speed.run --recipe {shown} --rounds {rounds} --threads {threads}"


if __name__ == "__main__":
    run()
