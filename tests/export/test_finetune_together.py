"""Several levels trained as one adapter: each learns from its rows alone, on its columns alone."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from peft import PeftModel
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, BertConfig

from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.data import Selection, TrainingRow, loss_weights, read_rows, select
from hazgate_export.finetune.evaluate import MultiLabelFigures, best_threshold, measure_labels
from hazgate_export.finetune.finetune_recipe import finetune_recipe
from hazgate_export.finetune.model import new_adapter, start_head, trainable
from hazgate_export.finetune.run import SharedResult
from hazgate_export.finetune.tasks import (
    Lesson,
    Losses,
    Task,
    column_gaps,
    column_labels,
    head_start,
    merge,
    split_together,
    texts_of,
)
from hazgate_export.finetune_settings import DataRules, TaskSettings
from hazgate_export.model.labels import read_labels
from hazgate_export.model.sources import Fetched
from hazgate_export.model.standin import write_standin
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.recipe_file import load_recipe

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "export" / "training"
PANEL = ROOT / "export" / "recipes" / "panel.toml"
BASE_ID = "test/tiny"
HAZARDS = ("violence", "theft", "hate")
ROW = TrainingRow(
    text="a text",
    level1="safe",
    level2=None,
    level1_ok=True,
    group="g",
    source="ours",
    license="Apache-2.0",
    lang="en",
    quality="gold",
)
LEVEL1 = DataRules(label_field="level1", languages=("en",), validation_share=0.2)
LEVEL2 = LEVEL1.model_copy(update={"label_field": "level2_all"})


def task(name: str = "level1", **changes: Any) -> Task:  # noqa: ANN401 - fields of a row, a task
    fields: dict[str, Any] = {
        "level": name,
        "labels": ("safe", "unsafe"),
        "settings": TaskSettings(data=LEVEL1),
    }
    return Task(**fields | changes)


def hazards(first: int = 2, **settings: Any) -> Task:  # noqa: ANN401 - fields of a row, a task
    return task(
        "level2",
        labels=HAZARDS,
        first=first,
        activation="sigmoid",
        thresholds=(0.5, 0.5, 0.5),
        settings=TaskSettings(data=LEVEL2, **settings),
    )


def labelled(text: str, held: Sequence[str] | None = None, **changes: Any) -> TrainingRow:  # noqa: ANN401 - fields of a row, a task
    further = {} if held is None else {"level2_all": tuple(held)}
    return replace(ROW, text=text, group=text, further=further, **changes)


# Reading


def line(**values: object) -> str:
    base = {"text": "t", "group": "g", "source": "s", "license": "l", "lang": "en"}
    return json.dumps(base | {"quality": "gold"} | values)


def read(file: Path, rules: DataRules, *lines: str, **options: Any) -> tuple[TrainingRow, ...]:  # noqa: ANN401 - fields of a row, a task
    file.write_text("\n".join(lines), encoding="utf-8")
    labels = options.pop("labels", HAZARDS)
    return read_rows([file], rules, labels, **options)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ({"level1": "unsafe", "level2": "theft"}, ("theft",)),
        ({"level1": "unsafe", "level2": "theft", "level2_all": ["hate", "theft"]}, None),
        ({"level1": "unsafe", "level2": None, "level2_all": ["hate", "violence"]}, None),
        ({"level1": "unsafe", "level2": None, "level2_all": []}, ()),
        ({"level1": "unsafe", "level2": None}, "unlabelled"),
        ({"level1": "safe", "level2": None}, "safe"),
        ({"level1": "safe", "level2": None, "level1_ok": False}, "unlabelled"),
        ({}, "unlabelled"),
    ],
)
@pytest.mark.parametrize("safe_rows_hold_none", [False, True])
def test_level2_all_is_read_with_all_its_hazards_and_safe_rows_have_none_where_the_rules_say_so(
    tmp_path: Path, values: dict[str, Any], held: object, safe_rows_hold_none: bool
) -> None:
    rules = LEVEL2.model_copy(update={"safe_rows_hold_none": safe_rows_hold_none})
    (row,) = read(tmp_path / "rows.jsonl", rules, line(**values), several=True)
    if held is None:
        # In the order of the labels, whatever the order in the file.
        held = tuple(label for label in HAZARDS if label in values["level2_all"])
    if held == "safe":
        held = () if safe_rows_hold_none else None
    assert row.labels("level2_all") == (None if held == "unlabelled" else held)


def test_a_field_of_our_own_is_read_and_those_of_other_levels_are_passed_over(
    tmp_path: Path,
) -> None:
    rules = LEVEL1.model_copy(update={"label_field": "pii"})
    rows = read(
        tmp_path / "rows.jsonl",
        rules,
        line(pii=["email", "name"], injection="none"),
        line(pii=[]),
        line(injection="none"),
        labels=("name", "email"),
        several=True,
        other_fields=("injection", "level1"),
    )
    assert [row.labels("pii") for row in rows] == [("name", "email"), (), None]
    assert [row.label("pii") for row in rows] == ["name+email", "none", None]
    assert select(rows, rules, seed=0).n_dropped["no usable pii"] == 1


@pytest.mark.parametrize(
    ("values", "several", "problem"),
    [
        ({"pii": "email"}, True, "pii: expected a list of name, email"),
        ({"pii": ["e-mail"]}, True, "pii: expected a list of name, email"),
        ({"pii": ["email", "email"]}, True, "pii: expected each label once"),
        ({"pii": ["email"]}, False, "pii: expected one of name, email"),
        ({"pii": "e-mail"}, False, "pii: expected one of name, email"),
        ({"colour": "red"}, True, "colour"),
        ({"injection": "none"}, True, "injection"),
    ],
)
def test_a_label_of_the_wrong_form_and_an_unknown_field_are_refused(
    tmp_path: Path, values: dict[str, Any], several: bool, problem: str
) -> None:
    rules = LEVEL1.model_copy(update={"label_field": "pii"})
    with pytest.raises(DataError, match=f"rows.jsonl:1: {problem}"):
        read(
            tmp_path / "rows.jsonl",
            rules,
            line(**values),
            labels=("name", "email"),
            several=several,
        )


# Losses


def test_each_level_has_the_loss_of_its_columns_and_its_rows_alone() -> None:
    first, second = task(), hazards()
    both, only1, only2 = (
        labelled("both", ["theft", "hate"], level1="unsafe"),
        labelled("only level 1"),
        labelled("only level 2", []),
    )
    lessons = merge([first, second], [[both, only1], [both, only2]])
    assert texts_of(lessons) == ["both", "only level 1", "only level 2"]
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))

    loss = Losses(lessons).of(logits, [0, 1, 2])

    # By hand: the mean over the level's own rows, of equal weight, and the sum over levels.
    level1 = functional.cross_entropy(logits[[0, 1], :2], torch.tensor([1, 0]))
    held = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    level2 = functional.binary_cross_entropy_with_logits(
        logits[[0, 2], 2:], held, reduction="none"
    ).sum(-1)
    assert loss.item() == pytest.approx((level1 + level2.mean()).item(), rel=1e-5)


def test_a_row_without_a_levels_label_moves_none_of_its_columns() -> None:
    lessons = merge(
        [task(), hazards()], [[labelled("one")], [labelled("two", ["hate"]), labelled("three", [])]]
    )
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()

    Losses(lessons).of(logits, [0, 1, 2]).backward()

    assert logits.grad is not None
    moved = logits.grad != 0
    assert moved.tolist() == [[True] * 2 + [False] * 3, *[[False] * 2 + [True] * 3] * 2]


def test_a_batch_takes_the_targets_and_weights_of_its_own_texts() -> None:
    rows = [labelled("one"), labelled("two", level1="unsafe"), labelled("three")]
    losses = Losses(merge([task()], [rows]))
    logits = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))

    turned = losses.of(logits[[2, 0]], [2, 0])

    targets = torch.tensor([0, 0])
    assert turned.item() == pytest.approx(
        functional.cross_entropy(logits[[2, 0]], targets).item(), rel=1e-5
    )
    # Numbers of texts, and not places in the batch.
    assert losses.of(logits[[2, 1]], [2, 1]).item() == pytest.approx(
        functional.cross_entropy(logits[[2, 1]], torch.tensor([0, 1])).item(), rel=1e-5
    )


def test_a_level_counts_by_its_weight_whatever_its_number_of_rows() -> None:
    few = hazards(loss_weight=0.25)
    rows = [labelled(f"text {i}") for i in range(9)]
    lessons = merge([task(), few], [rows, [labelled("few", ["hate"])]])

    assert sum(lessons[0].weights) / 10 == pytest.approx(1.0)
    assert sum(lessons[1].weights) / 10 == pytest.approx(0.25)
    assert lessons[1].weights[:9] == [0.0] * 9


def test_one_level_alone_has_the_weights_of_its_rows_unchanged() -> None:
    rows = [labelled("one"), labelled("two", level1="unsafe"), labelled("three", source="x")]
    settings = TaskSettings(data=LEVEL1, class_balance="sqrt", source_balance="sqrt")
    lesson = Lesson(task=task(settings=settings), rows=tuple(rows))

    assert lesson.weights == loss_weights(rows, LEVEL1, settings)


def test_the_head_starts_at_each_sigmoid_labels_share_and_a_softmax_head_as_it_was_drawn() -> None:
    rows = [labelled("one", ["hate"]), labelled("two", ["hate", "theft"]), labelled("three", [])]
    lessons = merge([task(), hazards()], [[labelled("other")], [*rows, labelled("four", [])]])

    start = head_start(lessons)

    assert start[:2].tolist() == [0.0, 0.0]
    # Violence: none of 4, theft: 1 of 4, hate: 2 of 4, as probabilities; 0 and 1 are not reached.
    assert start[2:].sigmoid().tolist() == pytest.approx([0.001, 0.25, 0.5], abs=1e-6)


def test_a_heads_bias_is_set_where_it_has_a_start_and_nothing_else_changes(base_dir: Path) -> None:
    lora = load_recipe(PANEL).recipe.finetune.lora  # type: ignore[union-attr]
    torch.manual_seed(0)
    model = new_adapter(base_dir, BASE_ID, ("safe", "unsafe", *HAZARDS), lora)
    before = {name: value.clone() for name, value in trainable(model).items()}

    start_head(model, torch.tensor([0.0, 0.0, -3.0, -1.0, 2.0]))

    changed = {
        name: value.tolist()
        for name, value in trainable(model).items()
        if not torch.equal(value, before[name])
    }
    (bias,) = changed
    assert bias.endswith("classifier.modules_to_save.default.bias")
    assert changed[bias] == [*before[bias][:2].tolist(), -3.0, -1.0, 2.0]


def test_smoothing_moves_each_labels_target_towards_one_half() -> None:
    rows = [labelled("one", ["hate"])]
    losses = Losses(merge([hazards(first=0, label_smoothing=0.2)], [rows]))
    logits = torch.tensor([[-2.0, 0.5, 1.0]])

    expected = functional.binary_cross_entropy_with_logits(
        logits, torch.tensor([[0.1, 0.1, 0.9]]), reduction="sum"
    )
    assert losses.of(logits, [0]).item() == pytest.approx(expected.item(), rel=1e-6)


def test_probabilities_are_of_the_levels_columns_alone() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(task().probabilities(logits), logits[:, :2].softmax(-1))
    torch.testing.assert_close(hazards().probabilities(logits), logits[:, 2:].sigmoid())


# Splitting


@given(
    items=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.booleans(), st.booleans()),
        max_size=40,
    ),
    hold_out=st.booleans(),
)
@hypothesis_settings(deadline=None)
def test_a_text_or_group_that_one_level_keeps_from_learning_teaches_no_other(
    items: list[tuple[int, str, bool, bool]], hold_out: bool
) -> None:
    tasks = [
        task(
            name,
            settings=TaskSettings(data=LEVEL1.model_copy(update={"held_out_sources": (source,)})),
        )
        for name, source in (("one", "a"), ("two", "b"))
    ]
    rows = [
        (replace(ROW, text=f"text {i}", group=str(group), source=source), takes)
        for i, (group, source, *takes) in enumerate(items)
    ]
    selections = [
        Selection(rows=tuple(row for row, takes in rows if takes[i]), n_dropped={}) for i in (0, 1)
    ]

    parts = split_together(tasks, selections, seed=3, hold_out=hold_out)

    learned = {row.group for part in parts for row in part.train}
    apart = {row.group for part in parts for row in (*part.validation, *part.held_out)}
    assert not learned & apart
    if hold_out:
        # A level measures the other's held-out source only where it keeps the row itself.
        assert all(
            row.source != tasks[i].settings.data.held_out_sources[0]
            for i, part in enumerate(parts)
            for row in part.train
        )


def test_the_same_words_in_other_case_do_not_pass_from_held_out_to_learned() -> None:
    rules = LEVEL1.model_copy(update={"held_out_sources": ("far",)})
    far = replace(ROW, text="The Same Words!", group="one", source="far")
    near = replace(ROW, text="the same words", group="two", source="near")
    tasks = [task("one", settings=TaskSettings(data=rules)), task("two")]
    selections = [Selection(rows=(row,), n_dropped={}) for row in (far, near)]

    parts = split_together(tasks, selections, seed=0, hold_out=True)

    assert parts[0].held_out == (far,)
    assert parts[1].train == ()


# Columns


def test_columns_without_gaps_name_all_labels_in_their_order() -> None:
    assert column_labels([hazards(), task()]) == ("safe", "unsafe", *HAZARDS)
    assert column_gaps([(2, 5), (0, 2)]) == []


def test_columns_that_no_level_owns_are_named() -> None:
    assert column_gaps([(3, 6), (0, 2)]) == [(2, 3)]
    assert column_gaps([(4, 6), (1, 3)]) == [(0, 1), (3, 4)]


# Figures


def test_multi_label_figures_count_sets_labels_and_the_single_label_protocol() -> None:
    held = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 1, 0]], bool)
    scores = np.array(
        [[0.9, 0.6, 0.1], [0.1, 0.8, 0.7], [0.1, 0.2, 0.9], [0.1, 0.4, 0.2]], np.float32
    )
    rows = [labelled(f"text {i}") for i in range(4)]

    found = measure_labels(rows, held, scores, HAZARDS, thresholds=(0.5, 0.5, 0.5))

    assert found.accuracy == 0.25
    assert found.classes["theft"].precision == 0.5
    assert found.classes["theft"].recall == 0.5
    assert found.classes["hate"].n_rows == 1
    assert found.single is not None
    assert (found.single.n_rows, found.single.accuracy) == (2, 1.0)
    assert found.none_flagged is not None
    assert (found.none_flagged.share, found.none_flagged.n_rows) == (1.0, 1)
    assert [(s.label, s.accuracy) for s in found.sources] == [
        ("none", 0.0),
        ("theft", 0.0),
        ("theft+hate", 1.0),
        ("violence", 0.0),
    ]
    assert found.best_thresholds["violence"] == 0.5


def test_the_best_threshold_separates_what_can_be_separated() -> None:
    held = np.array([False, False, True, True])
    threshold = best_threshold(held, np.array([0.1, 0.2, 0.3, 0.9], np.float32))
    assert 0.2 < threshold <= 0.3


# Recipes


def recipe_text(**changes: str) -> str:
    values = {
        "columns1": "columns = [0, 2]",
        "columns2": "columns = [2, 5]",
        "labels2": json.dumps(list(HAZARDS)),
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
    config = BertConfig(
        vocab_size=6400,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    return write_standin(
        tmp_path_factory.mktemp("standin"),
        config,
        texts=[text.text for text in load_proof_texts()],
        base_id=BASE_ID,
        levels={"level1": ("safe", "unsafe")},
        lora_targets=("query",),
        lora_rank=4,
    ).base


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
    assert named.labels == ("safe", "unsafe", *HAZARDS)
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
    recipe = written(tmp_path, columns2="columns = [2, 6]", labels2=json.dumps([*HAZARDS, "arson"]))
    with pytest.raises(DataError, match="level2: no training row is labelled arson"):
        train(recipe, data_file, base_dir)


# The bundled example


def test_the_recipe_of_panel_gives_every_level_its_columns() -> None:
    levels = load_recipe(PANEL).recipe.levels
    assert {name: level.columns for name, level in levels.items()} == {
        "level1": (0, 2),
        "level2": (2, 11),
        "injection": (11, 13),
        "pii": (13, 19),
    }
    assert {level.adapter_id for level in levels.values()} == {"hazgate/panel"}


OWN = {
    "make_personal_data.py": "personal_data.jsonl",
    "make_injections.py": "injections.jsonl",
}


@pytest.mark.parametrize("script", OWN)
def test_a_generator_writes_the_committed_rows_again(script: str) -> None:
    made = subprocess.run(
        [sys.executable, TRAINING / script], capture_output=True, check=True, timeout=60
    ).stdout
    assert made == (TRAINING / OWN[script]).read_bytes()
    assert len(made) < 1_000_000


def own_rows(file: str) -> list[dict[str, Any]]:
    lines = (TRAINING / file).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("file", OWN.values())
def test_unseen_templates_share_no_group_and_no_text_with_learned_ones(file: str) -> None:
    rows = own_rows(file)
    seen = [row for row in rows if "source" not in row]
    unseen = [row for row in rows if "source" in row]
    assert seen
    assert unseen
    assert not {row["group"] for row in seen} & {row["group"] for row in unseen}
    assert not {row["text"] for row in seen} & {row["text"] for row in unseen}


def test_families_of_injections_are_held_out_as_wholes() -> None:
    families = defaultdict(set)
    sentences = set()
    for row in own_rows("injections.jsonl"):
        if row["group"].startswith("injection-"):
            families[row["group"].rpartition("-")[0]].add(row.get("source"))
            sentences.add(row["group"])
    assert all(len(sources) == 1 for sources in families.values())
    assert sum(sources != {None} for sources in families.values()) == 9
    assert len(sentences) >= 600


def test_every_kind_of_personal_data_has_at_least_40_templates_of_which_some_are_unseen() -> None:
    templates = defaultdict(set)
    for row in own_rows("personal_data.jsonl"):
        for kind in row["pii"]:
            templates[kind, "source" in row].add(row["group"])
    kinds = load_recipe(PANEL).recipe.levels["pii"].labels
    for kind in kinds:
        assert len(templates[kind, False]) + len(templates[kind, True]) >= 40
        assert len(templates[kind, True]) >= 8
    assert {kind for kind, _ in templates} == set(kinds)
