"""Recipes are parsed strictly and report everything that is wrong at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hazgate_export.errors import RecipeError
from hazgate_export.recipe import HubSource, PackageSource, Recipe
from hazgate_export.recipe_file import load_recipe

RECIPES = Path(__file__).parents[2] / "export" / "recipes"


@pytest.mark.parametrize("name", ["mini", "mlcommons"])
def test_shipped_recipes_are_valid_and_agree_on_the_labels(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.toml").recipe
    assert recipe.name == name
    assert recipe.levels["level1"].labels == ("safe", "unsafe")
    assert [label.split("_")[0] for label in recipe.levels["level2"].labels] == (
        ["S1", "S2", "S3", "S5", "S6", "S7", "S8", "S9", "S13"]
    )


def test_the_bundled_recipe_needs_no_hub() -> None:
    recipe = load_recipe(RECIPES / "mini.toml").recipe
    sources = [recipe.base.source, *(level.adapter for level in recipe.levels.values())]
    assert isinstance(recipe.base.source, PackageSource)
    assert not any(isinstance(source, HubSource) for source in sources)


EARLY = "[variants.int8-fused-early]"


def _text() -> str:
    return (RECIPES / "mini.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.replace("opset = 18", "opset = 20"), "opset"),
        (lambda t: t.replace("opset = 18", 'opset = 18\nopsets = "x"'), "opsets"),
        (lambda t: t.replace("schema_version = 1", "schema_version = 2"), "schema_version"),
        (lambda t: t.replace('family = "bert"', 'family = "gpt"'), "base.family"),
        (lambda t: t.replace('level1 = "level1"', 'level1 = "level7"'), "cascade.level1"),
        (lambda t: t.replace('level2 = "level2"', 'level2 = "level1"'), "cascade.level2"),
        (lambda t: t.replace('level1 = "', 'gate = "'), "cascade.gate: is now called level1"),
        (lambda t: t.replace('level2 = "', 'hazards = "'), "cascade.hazards: is now called level2"),
        (lambda t: t.replace("parity = {", "gate = {"), "variants.fp32.gate: is now called parity"),
        (
            lambda t: t.replace("[int8_activations]", "[calibration]"),
            "calibration: is now called int8_activations",
        ),
        (
            lambda t: t.replace('positive_label = "unsafe"', 'positive_label = "bad"'),
            "cascade.positive_label",
        ),
        (
            lambda t: t.replace('labels = ["safe", "unsafe"]', 'labels = ["unsafe", "unsafe"]'),
            "levels.level1.labels",
        ),
        (
            lambda t: t.replace('default_variant = "fp32"', 'default_variant = "int3"'),
            "default_variant",
        ),
        (lambda t: t.replace('int8_scheme = "static"\n', ""), "variants.int8.int8_scheme"),
        (
            lambda t: t.replace('"static"', '"dynamic"'),
            "variants.int8.int8_scheme",
        ),
        (lambda t: t.replace("opset = 18", "opset = 17"), "variants.fp32.graph"),
        (
            lambda t: t.replace(
                'precision = "fp32"', 'precision = "fp32"\nint8_scheme = "dynamic"'
            ),
            "variants.fp32.int8_scheme",
        ),
        (lambda t: t.replace("255]", "255, 257]"), "parity.lengths"),
        (lambda t: t.replace("255]", "255, 0]"), "parity.lengths"),
        (
            lambda t: t.replace(
                'labels = ["safe", "unsafe"]',
                'labels = ["safe", "unsafe"]\nactivation = "sigmoid"',
            ),
            "levels.level1.finetune",
        ),
        (
            lambda t: t.replace(
                'labels = ["safe", "unsafe"]', 'labels = ["safe", "unsafe"]\nactivation = "relu"'
            ),
            "levels.level1.activation",
        ),
        (lambda t: t.replace('name = "mini"', 'name = "../mini"'), "name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_field_is_refused_by_name(
    tmp_path: Path, change: Callable[[str], str], named: str
) -> None:
    changed = change(_text())
    assert changed != _text()
    file = tmp_path / "recipe.toml"
    file.write_text(changed, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert named in str(caught.value)


CASCADE = _text()[_text().index("[cascade]") : _text().index("[variants.fp32]")]
ALONE = """positive = { label = "unsafe", threshold = 0.4, threshold_source = "as trained" }
"""


def _load(tmp_path: Path, text: str) -> Recipe:
    file = tmp_path / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    return load_recipe(file).recipe


def test_levels_need_no_cascade_and_state_their_own_positive_label(tmp_path: Path) -> None:
    text = _text().replace(CASCADE, "")
    # Early exits need a label that must not leave.
    start, end = (text.index(table) for table in (EARLY, "[int8_activations]"))
    text = text[:start] + text[end:]
    assert _load(tmp_path, text).cascade is None
    assert _load(tmp_path, text).positive_of("level1") is None
    recipe = _load(tmp_path, text.replace("[levels.level1]\n", "[levels.level1]\n" + ALONE))
    positive = recipe.positive_of("level1")
    assert positive is not None
    assert (positive.label, positive.threshold) == ("unsafe", 0.4)
    assert recipe.positive_of("level2") is None


@pytest.mark.parametrize(
    ("level1", "named"),
    [
        (ALONE, "levels.level1.positive: the cascade states it already"),
        (ALONE.replace("unsafe", "bad"), "levels.level1.positive.label: 'bad' is not a label"),
        (ALONE.replace("0.4", "1.0"), "levels.level1.positive.threshold"),
        ("thresholds = { unsafe = 0.4 }\n", "levels.level1.thresholds: are for a multi-label"),
        (
            'activation = "sigmoid"\nthresholds = { bad = 0.4 }\n',
            "levels.level1.thresholds: 'bad' is not a label",
        ),
        (
            f'activation = "sigmoid"\nthresholds = {{ unsafe = 0.4 }}\n{ALONE}',
            "levels.level1.thresholds.unsafe: `positive` states it already",
        ),
    ],
    ids=["stated twice", "label", "threshold", "softmax", "unknown", "two thresholds"],
)
def test_what_a_level_states_of_its_own_is_checked(tmp_path: Path, level1: str, named: str) -> None:
    with pytest.raises(RecipeError) as caught:
        _load(tmp_path, _text().replace("[levels.level1]\n", "[levels.level1]\n" + level1))
    assert named in str(caught.value)


def test_a_recipe_without_levels_is_refused(tmp_path: Path) -> None:
    text = _text()
    tables = text[text.index("[levels.level1]") : text.index("[variants.fp32]")]
    tail = text[text.index("[levels.level1.finetune]") :]
    with pytest.raises(RecipeError, match="levels"):
        _load(tmp_path, text.replace(tables, "[levels]\n").replace(tail, ""))


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(
        _text().replace("opset = 18", "opset = 99").replace('pooling = "cls"', 'pooling = "max"'),
        encoding="utf-8",
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert "opset" in str(caught.value)
    assert "base.pooling" in str(caught.value)


def test_a_missing_file_and_a_file_that_is_not_toml_are_recipe_errors(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"name = \xff")
    with pytest.raises(RecipeError, match="not a TOML document"):
        load_recipe(tmp_path / "bad.toml")


def test_the_old_name_of_the_static_scheme_is_refused_with_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(_text().replace('"static"', '"calibrated"'), encoding="utf-8")
    with pytest.raises(RecipeError, match="int8_scheme: 'calibrated' is now called 'static'"):
        load_recipe(file)
