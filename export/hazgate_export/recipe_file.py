"""A recipe's TOML file, read strictly, every problem reported at once."""

import hashlib
import re
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hazgate.documents.problems import list_problems
from hazgate.documents.toml import parse_toml
from hazgate_export.errors import RecipeError
from hazgate_export.recipe import LoadedRecipe, Recipe
from hazgate_export.recipe_checks import contradictions

# Keys of earlier releases, as patterns, and their names today.
_RENAMED = {
    r"cascade\.gate": "level1",
    r"cascade\.hazards": "level2",
    r"variants\..+\.gate": "parity",
    r"calibration": "int8_activations",
}
# The same of values: a key's pattern and its old value, and the value's name today.
_RENAMED_VALUES = {(r"variants\..+\.int8_scheme", "calibrated"): "static"}


def load_recipe(file: Path) -> LoadedRecipe:
    """Read the recipe in a TOML file.

    Raises:
        RecipeError: the file cannot be read, or any number of fields are wrong, all named.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise RecipeError(f"{file} cannot be read: {error.strerror}") from error
    data = parse_toml(text, source=str(file), error=RecipeError)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(_list(file, [_problem(item) for item in error.errors()])) from error
    problems = contradictions(recipe)
    if problems:
        raise RecipeError(_list(file, problems))
    return LoadedRecipe(
        recipe=recipe, folder=file.resolve().parent, sha256=hashlib.sha256(text).hexdigest()
    )


def _problem(item: ErrorDetails) -> str:
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        for pattern, name in _RENAMED.items():
            if re.fullmatch(pattern, place):
                return f"{place}: is now called {name}"
    for (pattern, value), name in _RENAMED_VALUES.items():
        if re.fullmatch(pattern, place) and item["input"] == value:
            return f"{place}: {value!r} is now called {name!r}"
    return f"{place}: {item['msg']}"


def _list(file: Path, problems: list[str]) -> str:
    return f"{file} is not a valid recipe:{list_problems(problems, most=len(problems))}"
