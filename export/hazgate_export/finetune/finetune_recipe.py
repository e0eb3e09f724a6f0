"""Fine-tuning of the levels that a recipe describes."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hazgate_export.errors import RecipeError
from hazgate_export.finetune.run import FinetuneResult, finetune_level
from hazgate_export.model.sources import fetch_base
from hazgate_export.recipe import DirectorySource, LoadedRecipe


def finetune_recipe(
    loaded: LoadedRecipe,
    data_files: Sequence[Path],
    levels: Sequence[str],
    out: Path | None,
    work: Path,
    local_base: Path | None,
) -> Iterator[FinetuneResult]:
    """Train each level's adapter and yield its result.

    Args:
        loaded: the recipe.
        data_files: JSON Lines of labelled texts.
        levels: names of the levels to train; empty means all.
        out: parent of the adapters' directories; None writes them where the recipe reads them.
        work: directory of checkpoints.
        local_base: a directory to use instead of the recipe's base.

    Raises:
        RecipeError: a level has no table `finetune`, or no directory to be written to.
        SourceError: the base is not available, or must not be used.
        DataError: rows are malformed.
    """
    recipe = loaded.recipe
    names = levels or tuple(recipe.levels)
    problems = [f"no level {name!r}" for name in names if name not in recipe.levels]
    problems += [
        f"levels.{name} has no table finetune"
        for name in names
        if name in recipe.levels and recipe.levels[name].finetune is None
    ]
    problems += [
        f"levels.{name}.adapter is not a directory; say where to write with --out"
        for name in names
        if name in recipe.levels
        and out is None
        and not isinstance(recipe.levels[name].adapter, DirectorySource)
    ]
    if problems:
        raise RecipeError("\n".join(problems))
    with tempfile.TemporaryDirectory(prefix="hazgate-sources-") as folder:
        base = fetch_base(loaded, local_base, Path(folder))
        for name in names:
            level = recipe.levels[name]
            if level.finetune is None:
                continue
            yield finetune_level(
                level.finetune,
                level=name,
                labels=level.labels,
                base_id=recipe.base.id,
                base_dir=base.directory,
                data_files=data_files,
                output_dir=_target(loaded, name, out),
                work_dir=work,
            )


def _target(loaded: LoadedRecipe, name: str, out: Path | None) -> Path:
    if out is not None:
        return out / name
    source = loaded.recipe.levels[name].adapter
    assert isinstance(source, DirectorySource), "checked above"
    return (loaded.folder / source.directory).resolve()
