"""A recipe is completed from its levels' files, and every disagreement stops the build."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from hazgate.judging.policy import Policy
from hazgate_export.errors import RecipeError, SourceError
from hazgate_export.model.settle import Settled, settle
from hazgate_export.model.sources import LevelSources
from hazgate_export.recipe_file import load_recipe
from tests.support.adapters import BASE_ID, edit_json, fetched, train_adapter, write_bert
from tests.support.operating_points import operating_point, write_operating_point
from tests.support.recipes import recipe_text
from tests.support.tiny_tokenizers import write_tokenizer

LABELS: Mapping[str, tuple[str, ...]] = {
    "level1": ("safe", "unsafe"),
    "level2": ("violence", "weapons"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settle")
    write_bert(folder / "base")
    for level in LABELS:
        train_adapter(folder / "base", folder / level)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def _map(folder: Path, level: str, *labels: str) -> None:
    numbers = {label: i for i, label in enumerate(labels)}
    text = json.dumps({"label_to_id": numbers})
    (folder / level / "label_mapping.json").write_text(text, encoding="utf-8")


def _settle(
    folder: Path,
    *,
    stated: Mapping[str, tuple[str, ...]] = LABELS,
    insert: Mapping[str, str] | None = None,
) -> Settled:
    text = recipe_text(
        name="settled", base_id=BASE_ID, family="bert", pooling="cls", levels=LABELS,
        max_tokens=32, default_variant="fp32", int8_scheme="dynamic", lengths=(1,),
    )  # fmt: skip
    for level, labels in LABELS.items():
        line = f"labels = {list(labels)}\n"
        wanted = f"labels = {list(stated[level])}\n" if level in stated else ""
        text = text.replace(line, wanted, 1)
    for table, lines in (insert or {}).items():
        assert f"[{table}]\n" in text
        text = text.replace(f"[{table}]\n", f"[{table}]\n{lines}\n", 1)
    recipe = folder / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    base = fetched(folder / "base", BASE_ID)
    return settle(
        load_recipe(recipe),
        {
            level: LevelSources(base=base, adapter=fetched(folder / level, f"test/{level}"))
            for level in LABELS
        },
    )


def _multi_label(folder: Path, *, overlap: int = 7, thresholds: tuple[float, float]) -> None:
    """Give Level 2 an operating point, as beside a whole checkpoint."""
    level2 = folder / "level2"
    write_tokenizer(level2)
    (level2 / "config.json").write_text(json.dumps({"pad_token_id": 0}), encoding="utf-8")
    (level2 / "model.safetensors").write_bytes(b"weights")
    document = operating_point(
        level2, labels=LABELS["level2"], thresholds=thresholds, content_tokens=16, overlap=overlap
    )
    write_operating_point(level2, document)


POINT = 'activation = "sigmoid"\noperating_point = "operating_point.json"'


def test_labels_that_the_recipe_leaves_out_are_the_files(folder: Path) -> None:
    _map(folder, "level1", "safe", "unsafe")
    _map(folder, "level2", "weapons", "violence")
    settled = _settle(folder, stated={})
    levels = settled.loaded.recipe.levels
    assert levels["level1"].labels == ("safe", "unsafe")
    assert levels["level2"].labels == ("weapons", "violence")
    assert settled.provenance["level2.labels"] == "label_mapping.json: label_to_id"
    assert settled.policy is None


def test_labels_that_the_recipe_says_are_compared_with_the_files(folder: Path) -> None:
    assert _settle(folder).provenance["level1.labels"] == "recipe"
    _map(folder, "level1", "unsafe", "safe")
    with pytest.raises(SourceError, match="level1: the labels differ in names or order"):
        _settle(folder)


def test_a_base_that_names_the_same_labels_in_another_order_is_refused(folder: Path) -> None:
    edit_json(folder / "base/config.json", id2label={"0": "unsafe", "1": "safe"})
    with pytest.raises(SourceError, match=r"base's config\.json: id2label"):
        _settle(folder)
    edit_json(folder / "base/config.json", id2label={"0": "negative", "1": "positive"})
    assert _settle(folder).provenance["level1.labels"] == "recipe"


def test_a_cascade_must_fit_the_labels_of_the_files(folder: Path) -> None:
    _map(folder, "level1", "benign", "jailbreak")
    _map(folder, "level2", "a", "b")
    with pytest.raises(RecipeError, match=r"cascade\.positive_label: not a label of level1"):
        _settle(folder, stated={})


def test_adapters_of_other_bases_are_named_together_before_anything_is_loaded(
    folder: Path,
) -> None:
    edit_json(folder / "level1/adapter_config.json", base_model_name_or_path="some/base")
    edit_json(folder / "level2/adapter_config.json", base_model_name_or_path="other/base")
    with pytest.raises(SourceError) as caught:
        _settle(folder)
    for word in ("level1: test/level1", "some/base", "level2: test/level2", "other/base", BASE_ID):
        assert word in str(caught.value)
    accept = {"levels.level1": 'accept_base = "some/base"'}
    with pytest.raises(SourceError, match="level2") as caught:
        _settle(folder, insert=accept)
    assert "level1" not in str(caught.value)
    _settle(folder, insert={**accept, "levels.level2": 'accept_base = "other/base"'})


def test_an_operating_point_gives_windows_thresholds_and_a_policy(folder: Path) -> None:
    _multi_label(folder, thresholds=(0.25, 0.07))
    settled = _settle(folder, insert={"levels.level2": POINT})
    recipe = settled.loaded.recipe
    assert (recipe.tokenizer.window, recipe.tokenizer.overlap) == (18, 7)
    assert recipe.levels["level2"].label_thresholds == (0.25, 0.07)
    assert "operating_point.json" in settled.provenance["level2.labels"]
    assert settled.provenance["level2.operating_point"].startswith("operating_point.json ")
    assert settled.policy is not None
    policy = Policy.parse(settled.policy.encode())
    policy.check_labels(LABELS["level2"])
    rules = policy.rules()
    assert {name: rule.threshold for name, rule in rules.hazards.items()} == {
        "violence": 0.25,
        "weapons": 0.07,
    }
    assert {rule.action for rule in rules.hazards.values()} == {"block"}
    assert rules.level1.unsafe == 0.5


def test_an_operating_point_that_is_not_named_is_not_applied_but_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _multi_label(folder, thresholds=(0.25, 0.07))
    settled = _settle(folder, insert={"levels.level2": 'activation = "sigmoid"'})
    assert settled.policy is None
    assert settled.loaded.recipe.levels["level2"].thresholds is None
    assert "operating_point.json, which is not used" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("insert", "named"),
    [
        ({"tokenizer": "window_tokens = 20"}, "tokenizer.window_tokens: .*20.*18"),
        ({"tokenizer": "overlap_tokens = 3"}, "tokenizer.overlap_tokens: .*3.*7"),
        ({"tokenizer": "close_tokens = 9"}, "without close windows"),
        (
            {"levels.level2": POINT + "\nthresholds = { weapons = 0.5 }"},
            r"levels\.level2\.thresholds: operating_point\.json states them, too",
        ),
    ],
)
def test_a_recipe_that_says_otherwise_is_refused(
    folder: Path, insert: Mapping[str, str], named: str
) -> None:
    _multi_label(folder, thresholds=(0.25, 0.07))
    with pytest.raises(SourceError, match=named):
        _settle(folder, insert={"levels.level2": POINT, **insert})


def test_labels_of_an_operating_point_are_compared_with_the_others(folder: Path) -> None:
    _multi_label(folder, thresholds=(0.25, 0.07))
    _map(folder, "level2", "weapons", "violence")
    with pytest.raises(SourceError, match=r"operating_point\.json"):
        _settle(folder, stated={"level1": LABELS["level1"]}, insert={"levels.level2": POINT})


def _settle_body(folder: Path, *, point: tuple[str, ...], level1: str = "") -> Settled:
    """Settle two levels on one body of four outputs, the second with an operating point."""
    wide = folder / "level2"
    train_adapter(folder / "base", wide, n_labels=4)
    write_tokenizer(wide)
    (wide / "config.json").write_text(json.dumps({"pad_token_id": 0}), encoding="utf-8")
    (wide / "model.safetensors").write_bytes(b"weights")
    thresholds = (0.1, 0.2, 0.3, 0.4)[: len(point)]
    document = operating_point(
        wide, labels=point, thresholds=thresholds, content_tokens=16, overlap=7
    )
    write_operating_point(wide, document)
    text = recipe_text(
        name="settled", base_id=BASE_ID, family="bert", pooling="cls", levels=LABELS,
        max_tokens=32, default_variant="fp32", int8_scheme="dynamic", lengths=(1,),
    )  # fmt: skip
    text = text.replace('"level1" }', '"level2" }').replace(
        f"{BASE_ID}-level1", f"{BASE_ID}-level2"
    )
    text = text.replace("[levels.level1]\n", f"[levels.level1]\ncolumns = [0, 2]\n{level1}\n")
    text = text.replace("[levels.level2]\n", f"[levels.level2]\ncolumns = [2, 4]\n{POINT}\n")
    recipe = folder / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    source = LevelSources(
        base=fetched(folder / "base", BASE_ID), adapter=fetched(wide, f"{BASE_ID}-level2")
    )
    return settle(load_recipe(recipe), dict.fromkeys(LABELS, source))


def test_an_operating_point_of_a_shared_head_gives_a_level_its_columns(folder: Path) -> None:
    settled = _settle_body(folder, point=(*LABELS["level1"], *LABELS["level2"]))
    recipe = settled.loaded.recipe
    assert recipe.levels["level2"].label_thresholds == (0.3, 0.4)
    assert recipe.levels["level1"].thresholds is None
    # Windows are the body's.
    assert (recipe.tokenizer.window, recipe.tokenizer.overlap) == (18, 7)


def test_an_operating_point_of_a_shared_head_states_all_of_its_outputs(folder: Path) -> None:
    with pytest.raises(SourceError) as caught:
        _settle_body(folder, point=LABELS["level2"])
    assert "operating_point.json names 2 outputs, the head has 4" in str(caught.value)


def test_an_operating_point_is_for_no_softmax_level_of_a_shared_head(folder: Path) -> None:
    point = (*LABELS["level1"], *LABELS["level2"])
    with pytest.raises(SourceError, match="is for sigmoid heads, the level's activation is softm"):
        _settle_body(folder, point=point, level1='operating_point = "operating_point.json"')
