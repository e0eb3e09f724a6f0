"""Fine-tuning of the levels that a recipe describes."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hazgate.judging.tags import Tags
from hazgate_export.errors import RecipeError
from hazgate_export.finetune.run import (
    FinetuneResult,
    SharedResult,
    finetune_level,
    finetune_together,
)
from hazgate_export.finetune.tasks import POSITIVE_LABEL, Task, column_gaps
from hazgate_export.finetune_settings import DataRules
from hazgate_export.model.sources import fetch_base
from hazgate_export.recipe import DirectorySource, LevelRecipe, LoadedRecipe, Recipe


def finetune_recipe(
    loaded: LoadedRecipe,
    data_files: Sequence[Path],
    levels: Sequence[str],
    out: Path | None,
    work: Path,
    local_base: Path | None,
) -> Iterator[FinetuneResult | SharedResult]:
    """Train the levels' adapters and yield the result of each.

    Levels with a table `task` that name the same adapter are trained together, in one run.

    Args:
        loaded: the recipe.
        data_files: JSON Lines of labelled texts.
        levels: names of the levels to train; empty means all. One of several that share an
            adapter stands for all of them.
        out: parent of the adapters' directories; None writes them where the recipe reads them.
        work: directory of checkpoints.
        local_base: a directory to use instead of the recipe's base.

    Raises:
        RecipeError: a level has neither a table `finetune` nor a table `task`, or no directory to
            be written to; or the columns of levels that share an adapter do not fit together.
        SourceError: the base is not available, or must not be used.
        DataError: rows are malformed.
    """
    recipe = loaded.recipe
    names = levels or tuple(recipe.levels)
    problems = [f"no level {name!r}" for name in names if name not in recipe.levels]
    chosen = {name: recipe.levels[name] for name in names if name in recipe.levels}
    problems += [
        f"levels.{name} has no table finetune, nor a table task"
        for name, level in chosen.items()
        if level.finetune is None and level.task is None
    ]
    problems += [
        f"levels.{name}.adapter is not a directory; say where to write with --out"
        for name, level in chosen.items()
        if out is None and not isinstance(level.adapter, DirectorySource)
    ]
    shared = [
        together
        for together in _shared_adapters(recipe)
        if any(name in together for name in chosen)
    ]
    for together in shared:
        problems += _shared_problems(together)
    if problems:
        raise RecipeError("\n".join(problems))
    with tempfile.TemporaryDirectory(prefix="hazgate-sources-") as folder:
        base = fetch_base(loaded, local_base, Path(folder))
        for name, level in chosen.items():
            if level.finetune is None:
                continue
            yield finetune_level(
                level.finetune,
                level=name,
                labels=level.labels,
                tags=Tags.of(level.labels, level.outside) if level.per_token else None,
                tagged=level.tagged or "tokens",
                base_id=recipe.base.id,
                base_dir=base.directory,
                data_files=data_files,
                output_dir=_target(loaded, level, name, out),
                work_dir=work,
                other_fields=label_fields(recipe),
            )
        for together in shared:
            assert recipe.finetune is not None, "load_recipe checks this"
            first = next(iter(together.values()))
            name = (first.adapter_id or "").rpartition("/")[2]
            yield finetune_together(
                recipe.finetune,
                name=name,
                tasks=[_task(recipe, level_name) for level_name in together],
                base_id=recipe.base.id,
                base_dir=base.directory,
                data_files=data_files,
                output_dir=_target(loaded, first, name, out),
                work_dir=work,
                other_fields=label_fields(recipe),
            )


def _shared_adapters(recipe: Recipe) -> list[dict[str, LevelRecipe]]:
    """Return the levels with a table `task`, gathered by their adapter."""
    found: dict[str, dict[str, LevelRecipe]] = {}
    for name, level in recipe.levels.items():
        if level.task is not None:
            found.setdefault(f"{level.adapter_id} {level.adapter}", {})[name] = level
    return list(found.values())


def _shared_problems(levels: Mapping[str, LevelRecipe]) -> list[str]:
    """List why levels cannot be trained as one adapter."""
    # The recipe has refused columns that are missing, overlap, or do not suit the labels.
    columns = [level.columns for level in levels.values() if level.columns is not None]
    problems = [
        f"levels.{', '.join(levels)}: no level is trained in the columns {first} to {end}"
        for first, end in column_gaps(columns)
    ]
    owner: dict[str, str] = {}
    for name, level in levels.items():
        problems += [
            f"levels.{name}.labels: {label} is a label of {owner[label]}, too; the adapter's "
            f"file of labels would name it twice"
            for label in level.labels
            if label in owner
        ]
        owner |= dict.fromkeys(level.labels, name)
    return problems


def label_fields(recipe: Recipe) -> list[str]:
    """Return the fields of rows from which the levels of a recipe learn."""
    tables = [level.finetune or level.task for level in recipe.levels.values()]
    return sorted({table.data.label_field for table in tables if table is not None})


def task_data(recipe: Recipe, name: str) -> DataRules:
    """Return the rules for the rows of a level with a task, and what all levels' files say."""
    level = recipe.levels[name]
    assert level.task is not None, "only levels with a task have them"
    assert recipe.finetune is not None, "load_recipe checks this"
    data = level.task.data
    defaults = {**recipe.finetune.file_defaults, **data.file_defaults}
    return data.model_copy(update={"file_defaults": defaults})


def _task(recipe: Recipe, name: str) -> Task:
    level = recipe.levels[name]
    assert level.task is not None, "only levels with a task are gathered"
    assert recipe.finetune is not None, "load_recipe checks this"
    data = task_data(recipe, name)
    looked_for = recipe.positive_of(name)
    positive = looked_for.label if looked_for is not None else None
    if positive is None and data.label_field == "level1":
        positive = POSITIVE_LABEL
    return Task(
        level=name,
        labels=level.labels,
        first=level.columns[0] if level.columns is not None else 0,
        activation=level.activation,
        positive=positive if level.activation == "softmax" else None,
        thresholds=level.label_thresholds if level.activation == "sigmoid" else (),
        settings=level.task.model_copy(update={"data": data}),
    )


def _target(loaded: LoadedRecipe, level: LevelRecipe, name: str, out: Path | None) -> Path:
    if out is not None:
        return out / name
    source = level.adapter
    assert isinstance(source, DirectorySource), "checked above"
    return (loaded.folder / source.directory).resolve()
