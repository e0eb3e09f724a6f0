"""Several levels trained as one adapter, from a recipe: whole runs on a tiny BERT."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.evaluate import MultiLabelFigures
from hazgate_export.finetune.finetune_recipe import finetune_recipe
from hazgate_export.finetune.run import SharedResult
from hazgate_export.model.labels import read_labels
from hazgate_export.model.sources import Fetched
from hazgate_export.recipe_file import load_recipe
from tests.support.training import KINDS, write_tiny_base

# Recipes


def recipe_text(**changes: str) -> str:
    values = {
        "columns1": "columns = [0, 2]",
        "columns2": "columns = [2, 5]",
        "labels2": json.dumps(list(KINDS)),
        "field2": "level2_all",
        "shared": "",
        "task2": "",
        "data2": "",
        "more": "",
    } | changes
    return """
schema_version = 1
name = "tiny"
description = "tiny"
opset = 18
default_variant = "fp32"
base = {{ id = "test/tiny", source = {{ directory = "base" }}, family = "bert", pooling = "cls" }}
tokenizer = {{ max_tokens = 32 }}
parity = {{ lengths = [1] }}
cascade = {{ level1 = "level1", positive_label = "unsafe", threshold = 0.5, \
threshold_source = "test", level2 = "level2" }}

[variants.fp32]
precision = "fp32"
parity = {{ max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }}

[finetune]
seed = 7
epochs = [2]
learning_rate = 3e-3
batch_size = 8
warmup_ratio = 0.1
weight_decay = 0.01
max_gradient_norm = 1.0
max_tokens = 32
learn_held_out = false
{shared}

[finetune.lora]
rank = 4
alpha = 8
dropout = 0.1
target_modules = ["query", "key", "value", "dense"]
modules_to_save = ["classifier"]

[finetune.file_defaults."rows.jsonl"]
source = "ours"
license = "Apache-2.0"
lang = "en"
quality = "gold"
note = "made up for a test"

[levels.level1]
adapter_id = "test/together"
adapter = {{ directory = "adapter" }}
labels = ["safe", "unsafe"]
{columns1}
[levels.level1.task.data]
label_field = "level1"
languages = ["en"]
held_out_sources = ["elsewhere"]
validation_share = 0.2

[levels.level2]
adapter_id = "test/together"
adapter = {{ directory = "adapter" }}
activation = "sigmoid"
labels = {labels2}
{columns2}
[levels.level2.task]
{task2}
[levels.level2.task.data]
label_field = "{field2}"
languages = ["en"]
safe_rows_hold_none = true
validation_share = 0.2
{data2}
{more}
""".format(**values)


def written(folder: Path, **changes: str) -> Path:
    file = folder / "tiny.toml"
    file.write_text(recipe_text(**changes), encoding="utf-8")
    return file


def cut_finetune(text: str) -> str:
    start, end = text.index("[finetune]"), text.index("[levels.level1]")
    return text[:start] + text[end:]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (cut_finetune, "finetune: required, because level1, level2 have a table task"),
        (
            lambda text: text.replace("epochs = [2]", "epochs = []"),
            "finetune.epochs",
        ),
        (lambda text: text.replace("epochs = [2]", "epochs = 2\ncolour = 1"), "finetune.colour"),
        (
            lambda text: text.replace("[levels.level2.task]", "[levels.level2.task]\nweight = 2"),
            "levels.level2.task.weight",
        ),
        (
            lambda text: text.replace(
                "[levels.level2.task]", "[levels.level2.task]\nloss_weight = 0"
            ),
            "levels.level2.task.loss_weight",
        ),
        (
            lambda text: text.replace('label_field = "level2_all"', 'label_field = "level2"'),
            "levels.level2.task.data.label_field: level2 holds one label, not several",
        ),
        (
            lambda text: text.replace('activation = "sigmoid"\n', ""),
            "levels.level2.task.data.label_field: level2_all holds several labels, not one",
        ),
        (
            lambda text: text.replace('label_field = "level2_all"', 'label_field = "group"'),
            "expected a field of labels, got group",
        ),
        (
            lambda text: text.replace('label_field = "level2_all"', 'label_field = "A B"'),
            "levels.level2.task.data.label_field",
        ),
    ],
)
def test_a_recipe_whose_shared_run_contradicts_itself_is_refused_by_name(
    tmp_path: Path, change: Callable[[str], str], problem: str
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(change(recipe_text()), encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        load_recipe(file)
    assert problem in str(raised.value)


def train(recipe: Path, data: Path, base: Path, out: Path | None = None) -> SharedResult:
    (result,) = finetune_recipe(load_recipe(recipe), [data], [], out, recipe.parent / "w", base)
    assert isinstance(result, SharedResult)
    return result


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"columns2": "columns = [1, 4]"}, "levels.level2.columns: "),
        ({"columns2": "columns = [3, 6]"}, "no level is trained in the columns 2 to 3"),
        ({"columns2": ""}, "levels.level2."),
        ({"labels2": '["safe", "theft", "hate"]'}, "safe is a label of level1, too"),
    ],
)
def test_levels_that_do_not_fit_on_one_classifier_are_refused_before_any_row_is_read(
    tmp_path: Path, changes: dict[str, str], problem: str
) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(RecipeError) as raised:
        train(file, tmp_path / "none.jsonl", tmp_path)
    assert problem in str(raised.value)


# Whole runs, on a tiny BERT


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    starts = {
        "Describe the river near": ("safe", []),
        "Rob the bank of": ("unsafe", ["theft"]),
        "Beat the mayor of": ("unsafe", ["violence"]),
        "Beat and curse the people of": ("unsafe", ["violence", "hate"]),
    }
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [
        {"text": f"{start} {place} {i}.", "level1": level1, "group": f"{place} {i}"}
        | ({"level2_all": held} if held else {})
        | ({"source": "elsewhere"} if i == 0 else {})
        for start, (level1, held) in starts.items()
        for place in ("Rome", "Bern", "Oslo", "Riga", "Kiel")
        for i in range(4)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def together(
    base_dir: Path, data_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> SharedResult:
    folder = tmp_path_factory.mktemp("together")
    return train(written(folder), data_file, base_dir)


def test_two_levels_on_one_body_load_by_peft_with_one_wide_classifier(
    together: SharedResult, base_dir: Path
) -> None:
    base = AutoModelForSequenceClassification.from_pretrained(base_dir, num_labels=5)
    adapted = PeftModel.from_pretrained(base, together.directory)

    heads = {
        name: value.shape
        for name, value in adapted.state_dict().items()
        if "classifier.modules_to_save" in name
    }
    assert heads == {
        "base_model.model.classifier.modules_to_save.default.weight": (5, 32),
        "base_model.model.classifier.modules_to_save.default.bias": (5,),
    }


def test_the_adapters_files_name_the_labels_of_all_columns(together: SharedResult) -> None:
    assert together.directory.name == "adapter"
    assert sorted(file.name for file in together.directory.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "label_mapping.json",
        "training.json",
    ]
    (named,) = read_labels(
        Fetched(directory=together.directory, id="x", revision=None, sha256="0" * 64)
    )
    assert named.labels == ("safe", "unsafe", *KINDS)
    record = json.loads((together.directory / "training.json").read_text(encoding="utf-8"))
    assert record["levels"]["level1"]["columns"] == [0, 2]
    assert record["levels"]["level2"]["columns"] == [2, 5]
    assert record["levels"]["level2"]["activation"] == "sigmoid"


def test_the_card_has_figures_and_data_of_every_level_and_says_how_rows_were_made(
    together: SharedResult,
) -> None:
    card = (together.directory / "README.md").read_text(encoding="utf-8")
    for heading in (
        "## Figures: level1",
        "### On unseen sources: level1",
        "## Figures: level2",
        "## Data: level2",
    ):
        assert f"\n{heading}\n" in card
    assert "- ours: made up for a test" in card
    assert "Rob the bank" not in card
    assert isinstance(together.validation["level2"], MultiLabelFigures)
    assert together.held_out["level2"] is None
    held_out = together.held_out["level1"]
    assert held_out is not None
    assert {figures.source for figures in held_out.sources} == {"elsewhere"}


def test_a_shared_run_can_be_repeated_to_the_bit_and_levels_change_one_another(
    together: SharedResult, base_dir: Path, data_file: Path, tmp_path: Path
) -> None:
    for name in ("same", "other"):
        (tmp_path / name).mkdir()
    same = train(written(tmp_path / "same"), data_file, base_dir)
    heavier = written(tmp_path / "other", task2="loss_weight = 3.0")
    other = train(heavier, data_file, base_dir)

    weights = [
        (result.directory / "adapter_model.safetensors").read_bytes()
        for result in (together, same, other)
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_rules_of_a_level_that_name_no_row_are_refused_with_the_levels_name(
    base_dir: Path, data_file: Path, tmp_path: Path
) -> None:
    recipe = written(tmp_path, data2='excluded_sources = ["nowhere"]\nlabel_caps = { arson = 2 }')
    with pytest.raises(RecipeError) as raised:
        train(recipe, data_file, base_dir)
    assert "level2: data.excluded_sources: no row is from nowhere" in str(raised.value)
    assert "level2: data.label_caps: no such label: arson" in str(raised.value)


def test_a_level_without_rows_of_a_label_is_refused(
    base_dir: Path, data_file: Path, tmp_path: Path
) -> None:
    recipe = written(tmp_path, columns2="columns = [2, 6]", labels2=json.dumps([*KINDS, "arson"]))
    with pytest.raises(DataError, match="level2: no training row is labelled arson"):
        train(recipe, data_file, base_dir)
