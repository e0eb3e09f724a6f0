"""The outputs of a model's classification head: how many there are, and what each is called."""

from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open

from hazgate_export.errors import SourceError
from hazgate_export.model.adapter import HEADS, read_adapter
from hazgate_export.model.sources import Fetched, LevelSources
from hazgate_export.recipe import Recipe


def count_outputs(sources: LevelSources) -> int:
    """Count the outputs of the head in the files of an adapter, or of a whole checkpoint.

    Raises:
        SourceError: the files hold no trained head, or cannot be read.
    """
    weights = sources.adapter or sources.base
    if sources.adapter is not None:
        head = read_adapter(sources.adapter).head
        n_outputs = None if head is None else head.n_outputs
    else:
        n_outputs = _rows_of_head(sources.base)
    if n_outputs is None:
        raise SourceError(
            f"{weights.id}: its files hold no trained classification head ({', '.join(HEADS)}), "
            "whose outputs the levels' columns count"
        )
    return n_outputs


def output_names(recipe: Recipe, name: str, sources: LevelSources) -> tuple[str, ...]:
    """Name every output of a level's head: by the labels of all levels on its body.

    Raises:
        SourceError: see `count_outputs`.
    """
    level = recipe.levels[name]
    if level.columns is None:
        return level.labels
    names = [f"column {i}" for i in range(count_outputs(sources))]
    for other in _body_of(recipe, name):
        sharing = recipe.levels[other]
        names[sharing.own_columns] = sharing.labels or names[sharing.own_columns]
    return tuple(names)


def is_multi_label(recipe: Recipe, name: str) -> bool:
    """Return True if labels hold independently at any level on the body of a level."""
    return any(recipe.levels[n].activation == "sigmoid" for n in _body_of(recipe, name))


def _body_of(recipe: Recipe, name: str) -> tuple[str, ...]:
    return next(body for body in recipe.bodies() if name in body)


def _rows_of_head(checkpoint: Fetched) -> int | None:
    """Return the rows of the last linear layer in a checkpoint's safetensors, None without one."""
    files = sorted(checkpoint.directory.glob("*.safetensors"))
    try:
        rows = dict(row for file in files for row in _rows(file))
    except Exception as error:  # the binding has an error of its own, next to OSError
        raise SourceError(f"{checkpoint.id}: its weights cannot be read: {error}") from error
    return next((rows[head] for head in HEADS if head in rows), None)


def _rows(file: Path) -> Iterator[tuple[str, int]]:
    with safe_open(file, framework="pt") as tensors:
        names = set(tensors.keys())
        for head in HEADS:
            if f"{head}.weight" in names:
                yield head, tensors.get_slice(f"{head}.weight").get_shape()[0]
