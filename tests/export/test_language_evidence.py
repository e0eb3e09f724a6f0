"""A recipe vouches for languages; the bundle says with what evidence, or that there is none."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hazgate.bundle.language_specs import LanguageSpec, language_line
from hazgate_export.bundle.language_evidence import MIN_RECALL, language_specs
from hazgate_export.errors import RecipeError, SourceError
from hazgate_export.model.listing import choose_files
from hazgate_export.model.sources import Fetched, LevelSources
from hazgate_export.recipe import LanguagesRecipe, Recipe
from hazgate_export.recipe_file import load_recipe

EXPORT = Path(__file__).parents[2] / "export"
RECORD = EXPORT / "adapters" / "multilingual-level1" / "training.json"


def _recipe(name: str, vouched: tuple[str, ...] | None = None) -> Recipe:
    recipe = load_recipe(EXPORT / "recipes" / f"{name}.toml").recipe
    if vouched is None:
        return recipe
    return recipe.model_copy(update={"languages": LanguagesRecipe(vouched=vouched)})


def _sources(recipe: Recipe, folder: Path) -> Mapping[str, LevelSources]:
    fetched = Fetched(directory=folder, id="test/adapter", revision=None, sha256="0" * 64)
    return {name: LevelSources(base=fetched, adapter=fetched) for name in recipe.levels}


def _specs(recipe: Recipe, folder: Path) -> dict[str, LanguageSpec]:
    found = language_specs(recipe, _sources(recipe, folder))
    assert found is not None
    return found


def _changed(tmp_path: Path, change: Callable[[Any], object]) -> Path:
    data = json.loads(RECORD.read_text(encoding="utf-8"))
    change(data)
    (tmp_path / RECORD.name).write_text(json.dumps(data), encoding="utf-8")
    return tmp_path


def _measured(data: Any, language: str) -> Any:  # noqa: ANN401 - JSON
    figures = data["trials"][0]["held_out"]["languages"]
    return next(each for each in figures if each["language"] == language)


@pytest.mark.parametrize(
    ("name", "adapter", "recall", "n_rows"),
    [("mini", "mini-level1", 0.833635, 1659), ("panel", "panel", 0.782328, 1856)],
)
def test_a_run_on_one_language_is_evidence_at_the_served_threshold(
    name: str, adapter: str, recall: float, n_rows: int
) -> None:
    recipe = _recipe(name)
    specs = _specs(recipe, EXPORT / "adapters" / adapter)
    assert list(specs) == ["en"]
    english = specs["en"]
    assert recipe.cascade is not None
    assert english.threshold == recipe.cascade.threshold
    assert english.recall is not None
    assert english.recall.share == pytest.approx(recall, abs=1e-4)
    assert english.recall.n_rows == n_rows
    assert english.recall.low < english.recall.share < english.recall.high


def test_the_multilingual_recipe_vouches_for_what_its_evidence_carries_and_no_other() -> None:
    recipe = _recipe("multilingual")
    assert recipe.languages is not None
    level = recipe.levels["level1"].finetune
    assert level is not None
    every = _recipe("multilingual", level.data.languages)
    carried = {
        tag
        for tag, spec in _specs(every, RECORD.parent).items()
        if spec.recall is not None and spec.recall.n_rows >= 30 and spec.recall.low >= MIN_RECALL
    }
    assert set(recipe.languages.vouched) == carried
    assert all(spec.threshold == 0.52 for spec in _specs(recipe, RECORD.parent).values())


def test_a_language_without_evidence_is_stated_only() -> None:
    specs = _specs(_recipe("multilingual", ("en", "sv")), RECORD.parent)
    assert specs["sv"] == LanguageSpec()
    assert language_line("sv", specs["sv"]) == "sv: stated"
    assert language_line("en", specs["en"]) == (
        "en: recall 0.88 (0.86–0.90, 878 rows), false positives 0.18 (0.15–0.21, 764 rows) at 0.52"
    )


def test_evidence_that_contradicts_the_recipe_is_refused_by_the_languages_name(
    tmp_path: Path,
) -> None:
    def change(data: Any) -> None:  # noqa: ANN401 - JSON
        _measured(data, "de")["recall"] = {
            "share": 0.3,
            "low": 0.2,
            "high": 0.4,
            "n_rows": 63,
        }

    folder = _changed(tmp_path, change)
    with pytest.raises(RecipeError) as caught:
        _specs(_recipe("multilingual"), folder)
    assert "languages.vouched: de: its measured recall of 0.30 (0.20 to 0.40, 63 rows)" in str(
        caught.value
    )
    assert "leave de out" in str(caught.value)
    assert "de" not in _specs(_recipe("multilingual", ("en", "fr")), folder)


def test_few_rows_contradict_nothing(tmp_path: Path) -> None:
    def change(data: Any) -> None:  # noqa: ANN401 - JSON
        _measured(data, "de")["recall"] = {"share": 0.5, "low": 0.15, "high": 0.85, "n_rows": 4}

    specs = _specs(_recipe("multilingual"), _changed(tmp_path, change))
    assert specs["de"].recall is not None
    assert specs["de"].recall.n_rows == 4


def test_only_the_chosen_candidate_is_evidence(tmp_path: Path) -> None:
    def change(data: Any) -> None:  # noqa: ANN401 - JSON
        other = json.loads(json.dumps(data["trials"][0]))
        other["candidate"]["epochs"] = 7
        other["held_out"]["languages"] = []
        data["trials"].insert(0, other)

    assert _specs(_recipe("multilingual"), _changed(tmp_path, change))["de"].recall is not None


def test_a_damaged_record_is_refused_by_its_place(tmp_path: Path) -> None:
    folder = _changed(tmp_path, lambda data: _measured(data, "de")["recall"].pop("low"))
    with pytest.raises(SourceError, match=r"training\.json is damaged at .*recall\.low"):
        _specs(_recipe("multilingual"), folder)
    (tmp_path / RECORD.name).write_text("{", encoding="utf-8")
    with pytest.raises(SourceError, match=r"training\.json"):
        _specs(_recipe("multilingual"), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("data_sha256"),
        lambda data: data["trials"][0].update(held_out=None),
    ],
    ids=["another program's", "nothing held out"],
)
def test_a_record_without_such_figures_is_no_evidence(
    tmp_path: Path, change: Callable[[Any], object]
) -> None:
    specs = _specs(_recipe("multilingual"), _changed(tmp_path, change))
    assert set(specs.values()) == {LanguageSpec()}


def test_a_recipe_that_vouches_for_none_says_nothing() -> None:
    recipe = _recipe("multilingual").model_copy(update={"languages": None})
    assert language_specs(recipe, _sources(recipe, RECORD.parent)) is None


def test_a_build_takes_the_record_of_an_adapter_and_of_no_base() -> None:
    adapter = ("adapter_config.json", "adapter_model.safetensors", "training.json")
    assert "training.json" in choose_files(adapter, "adapter_model", subject="x").small
    base = ("config.json", "model.safetensors", "training.json")
    assert "training.json" not in choose_files(base, "model", subject="x").small


@pytest.mark.parametrize(
    ("vouched", "named"),
    [
        ('["english"]', "languages.vouched.0"),
        ('["EN"]', "languages.vouched.0"),
        ("[]", "languages.vouched"),
        ('["en", "en"]', "languages.vouched: en is named twice"),
    ],
)
def test_a_wrong_list_of_languages_is_refused_by_name(
    tmp_path: Path, vouched: str, named: str
) -> None:
    text = (EXPORT / "recipes" / "mini.toml").read_text(encoding="utf-8")
    file = tmp_path / "recipe.toml"
    file.write_text(text.replace('vouched = ["en"]', f"vouched = {vouched}"), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert named in str(caught.value)
