"""The checks of a recipe's early exits."""

import itertools
from collections.abc import Iterator

from hazgate_export.recipe import ExitsRecipe, LevelRecipe, Recipe


def exit_problems(recipe: Recipe) -> Iterator[str]:
    """Yield what is wrong with the exits of variants; labels only where they are named."""
    with_exits = {name: v.exits for name, v in recipe.variants.items() if v.exits is not None}
    for name, exits in with_exits.items():
        for problem in _own_problems(exits):
            yield f"variants.{name}.exits.{problem}"
        if recipe.variants[name].graph != "fused":
            yield f"variants.{name}.exits: go with the fused graph"
        if recipe.twin_of(name) is None:
            yield (
                f"variants.{name}.exits: expected another variant with the same settings and "
                "without exits, whose logits a text has that is read whole"
            )
        if recipe.default_variant == name:
            yield (
                f"default_variant: {name!r} has early exits, which are asked for by name; expected "
                "a variant without"
            )
    if not with_exits:
        return
    levels = [name for name in recipe.exit_levels() if name in recipe.levels]
    if not levels and recipe.cascade is None:
        yield (
            f"variants.{next(iter(with_exits))}.exits: no level has a `positive` label, so nothing "
            "says which texts must not leave"
        )
    for name in levels:
        for problem in _level_problems(recipe.levels[name]):
            yield f"levels.{name}.{problem}"


def _own_problems(exits: ExitsRecipe) -> Iterator[str]:
    for name in ("after_layers", "thresholds"):
        values = getattr(exits, name)
        if any(b <= a for a, b in itertools.pairwise(values)):
            yield f"{name}: expected rising numbers, got {list(values)}"


def _level_problems(level: LevelRecipe) -> Iterator[str]:
    """Yield why no text may leave this level early."""
    if level.columns is not None:
        yield "columns: early exits are for a level that has its body to itself"
    if level.per_token:
        yield "output: early exits are for a level of texts"
    if level.activation != "softmax":
        yield "activation: early exits are for two labels under softmax"
    if level.labels and len(level.labels) != 2:
        yield f"labels: early exits are for two labels, got {len(level.labels)}"
