"""A token level is trained from marked spans: whole runs on a tiny BERT."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.nn import functional
from transformers import AutoModelForTokenClassification

from hazgate.judging.tags import Tags
from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.finetune_recipe import finetune_recipe
from hazgate_export.finetune.measure_spans import TokenLevelFigures
from hazgate_export.finetune.predict import read_tokens
from hazgate_export.finetune.rows import read_rows
from hazgate_export.finetune.run import FinetuneResult
from hazgate_export.finetune.tagging import NO_TAG
from hazgate_export.finetune.tasks import Lesson, Task
from hazgate_export.finetune.token_tasks import TokenLosses, targets_of
from hazgate_export.finetune_settings import TaskSettings
from hazgate_export.model.labels import read_labels
from hazgate_export.model.sources import Fetched
from hazgate_export.model.tokenizer_files import reference_tokenizer
from hazgate_export.recipe_file import load_recipe
from tests.support.training import BASE_ID, RULES, spans_row, task, write_tiny_base

LABELS = ("O", "B-email", "I-email", "B-phone", "I-phone")

RECIPE = """
schema_version = 1
name = "tiny"
description = "tiny"
opset = 18
default_variant = "fp32"
base = { id = "test/tiny", source = { directory = "base" }, family = "bert", pooling = "cls" }
tokenizer = { max_tokens = 48 }
parity = { lengths = [1] }

[variants.fp32]
precision = "fp32"
parity = { max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }

[levels.spans]
adapter_id = "test/spans"
adapter = { directory = "adapter" }
output = "tokens"
labels = ["O", "B-email", "I-email", "B-phone", "I-phone"]

[levels.spans.finetune]
seed = 7
candidates = [{ epochs = 12, class_balance = "sqrt" }]
learning_rate = 1e-2
batch_size = 8
warmup_ratio = 0.1
weight_decay = 0.01
max_gradient_norm = 1.0
max_tokens = 48
learn_held_out = false

[levels.spans.finetune.lora]
rank = 8
alpha = 16
dropout = 0.0
target_modules = ["query", "key", "value", "dense"]
modules_to_save = ["classifier"]

[levels.spans.finetune.data]
label_field = "spans"
languages = ["en"]
held_out_sources = ["elsewhere"]
validation_share = 0.2

[levels.spans.finetune.data.file_defaults."rows.jsonl"]
source = "ours"
license = "Apache-2.0"
lang = "en"
quality = "gold"
"""


def written(folder: Path, change: Callable[[str], str] = str) -> Path:
    file = folder / "tiny.toml"
    file.write_text(change(RECIPE), encoding="utf-8")
    return file


# Recipes

NOISE = """
[levels.spans.finetune.noise]
drop_end_share = 0.3
swap_end_share = 0.2
prefix_share = 0.2
prefixes = ["please"]
"""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text + NOISE, "levels.spans.finetune.noise: it moves the characters"),
        (
            lambda text: text.replace("max_tokens = 48\nlearn", "frozen_layers = 1\nlearn"),
            "levels.spans.finetune.max_tokens",
        ),
        (
            lambda text: text.replace("seed = 7", "seed = 7\nfrozen_layers = 1"),
            "levels.spans.finetune.frozen_layers: are for levels of texts",
        ),
        (
            lambda text: text.replace('label_field = "spans"', 'label_field = "pii"'),
            "levels.spans.finetune.data.label_field: a token level learns from the field spans",
        ),
        (
            lambda text: text.replace('output = "tokens"\n', "").replace('"O"', '"none"'),
            'levels.spans.finetune.data.label_field: spans are for a token level, with output = "',
        ),
        (
            lambda text: text.replace(', "B-phone", "I-phone"', ', "phone"'),
            "levels.spans.labels: expected O, B-TYPE or I-TYPE, got 'phone'",
        ),
    ],
)
def test_a_recipe_that_cannot_train_a_token_level_is_refused_by_name(
    tmp_path: Path, change: Callable[[str], str], problem: str
) -> None:
    with pytest.raises(RecipeError) as raised:
        load_recipe(written(tmp_path, change))
    assert problem in str(raised.value)


# Rows


def rows_of(folder: Path) -> Path:
    """Own texts, whose values have words and signs that no other word of theirs has."""
    file = folder / "rows.jsonl"
    rows: list[dict[str, object]] = []
    for i in range(70):
        email, phone = f"ada{i}@mail.example", f"555-01{i:02}"
        for start in ("write to ", "🎉 mail\r\n"):
            text = f"{start}{email} or call {phone} soon"
            at, by = len(start), len(start) + len(email) + 9
            spans = [
                {"start": at, "end": at + len(email), "label": "email"},
                {"start": by, "end": by + len(phone), "label": "phone"},
            ]
            assert text[by : by + len(phone)] == phone
            rows.append({"text": text, "spans": spans, "group": f"g{i}"})
        rows.append({"text": f"chapter {i} of the long river story", "spans": [], "group": f"g{i}"})
    for row in rows[:15]:
        row["source"] = "elsewhere"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("span", "problem"),
    [
        (
            {"start": 0, "end": 3, "label": "name"},
            "spans: 0 to 3: expected a label of email, phone",
        ),
        ({"start": 3, "end": 3, "label": "email"}, "spans: 3 to 3: expected characters of the 9"),
        ({"start": 3, "end": 10, "label": "email"}, "spans: 3 to 10: expected characters of the 9"),
        ({"start": -1, "end": 3, "label": "email"}, "spans.1.start"),
        ({"start": 1, "end": 3, "label": "email"}, "overlaps the span before it"),
        ({"start": 0, "end": 3}, "spans.1.label: Field required"),
    ],
)
def test_wrong_spans_are_refused_with_their_line_and_without_the_text(
    tmp_path: Path, span: dict[str, object], problem: str
) -> None:
    good = {"start": 0, "end": 2, "label": "email"}
    spans = [good, span] if "overlaps" in problem or "spans.1" in problem else [span]
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": "secret ab", "spans": spans, "group": "g"}), "utf-8")
    with pytest.raises(DataError) as raised:
        read_rows([file], RULES.model_copy(update={"label_field": "spans"}), ("email", "phone"))
    assert "rows.jsonl:1: " in str(raised.value)
    assert problem in str(raised.value)
    assert "secret ab" not in str(raised.value)


# Whole runs, on a tiny BERT


def train(recipe: Path, data: Path, base: Path, out: Path | None = None) -> FinetuneResult:
    (result,) = finetune_recipe(load_recipe(recipe), [data], [], out, recipe.parent / "w", base)
    assert isinstance(result, FinetuneResult)
    return result


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="module")
def trained(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    folder = tmp_path_factory.mktemp("spans")
    return train(written(folder), rows_of(folder), base_dir)


def test_a_run_learns_to_find_spans_also_in_sources_that_it_has_not_seen(
    trained: FinetuneResult,
) -> None:
    assert isinstance(trained.held_out, TokenLevelFigures)
    assert {figures.source for figures in trained.held_out.sources} == {"elsewhere"}
    assert trained.held_out.macro_f1 > 0.7
    assert trained.held_out.all_overlapping.f1 > 0.9
    assert trained.held_out.none_flagged is not None
    assert trained.held_out.none_flagged.share < 0.1


def test_the_adapter_loads_with_peft_as_one_of_tokens_and_names_its_tags(
    trained: FinetuneResult, base_dir: Path
) -> None:
    base = AutoModelForTokenClassification.from_pretrained(base_dir, num_labels=len(LABELS))
    adapted = PeftModel.from_pretrained(base, trained.directory)
    head = adapted.state_dict()["base_model.model.classifier.modules_to_save.default.weight"]
    assert head.shape == (len(LABELS), 32)
    config = json.loads((trained.directory / "adapter_config.json").read_text())
    assert config["task_type"] == "TOKEN_CLS"
    (named,) = read_labels(
        Fetched(directory=trained.directory, id="x", revision=None, sha256="0" * 64)
    )
    assert named.labels == LABELS


def test_the_card_has_both_kinds_of_figures_by_type_and_quotes_no_text(
    trained: FinetuneResult,
) -> None:
    card = (trained.directory / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: token-classification" in card
    assert "Finds spans of characters in a text: email, phone." in card
    assert "| type | equal: precision | recall | F1 | overlapping: precision |" in card
    assert "| email | " in card
    assert "| none | " in card
    assert "river story" not in card
    record = json.loads((trained.directory / "training.json").read_text(encoding="utf-8"))
    assert set(record["trials"][0]["held_out"]["overlapping"]) == {"email", "phone"}


def test_a_run_over_tokens_can_be_repeated_to_the_bit(
    trained: FinetuneResult, base_dir: Path, tmp_path: Path
) -> None:
    again = train(written(tmp_path), rows_of(tmp_path), base_dir)
    weights = [
        (result.directory / "adapter_model.safetensors").read_bytes() for result in (trained, again)
    ]
    assert weights[0] == weights[1]


# Losses


def token_task(**settings: Any) -> Task:  # noqa: ANN401 - fields of the settings
    rules = RULES.model_copy(update={"label_field": "spans"})
    return task(
        "spans",
        labels=LABELS,
        tags=Tags.of(LABELS, None),
        settings=TaskSettings(data=rules, **settings),
    )


def test_targets_stand_at_the_tokens_of_their_characters_also_behind_emoji_and_line_ends(
    base_dir: Path,
) -> None:
    tokenizer = reference_tokenizer(base_dir, BASE_ID)
    text = "🎉😀 mail\r\nada@b.example now"
    row = spans_row(text, ("email", 9, 22))
    assert text[9:22] == "ada@b.example"
    (tokens,) = read_tokens(tokenizer, [text], 48)

    targets = targets_of(token_task(), row, tokens)

    assert targets[0] == targets[-1] == NO_TAG
    tagged = [i for i, number in enumerate(targets) if number in (1, 2)]
    assert [targets[i] for i in tagged] == [1, *[2] * (len(tagged) - 1)]
    start, end = tokens.offsets[tagged[0]][0], tokens.offsets[tagged[-1]][1]
    assert text[start:end] == "ada@b.example"


def test_the_loss_is_the_mean_over_own_tokens_whatever_the_padding(base_dir: Path) -> None:
    tokenizer = reference_tokenizer(base_dir, BASE_ID)
    rows = (spans_row("ada@b.example", ("email", 0, 13)), spans_row("a long river story of old"))
    lesson = Lesson(task=token_task(), rows=rows)
    read = read_tokens(tokenizer, [row.text for row in rows], 48)
    longest = max(len(tokens.ids) for tokens in read) + 3
    logits = torch.randn(2, longest, len(LABELS), generator=torch.Generator().manual_seed(1))

    loss = TokenLosses(lesson, tokenizer, 48).of(logits, [0, 1])

    expected, n_tokens = torch.tensor(0.0), 0
    for of_row, row, tokens in zip(logits, rows, read, strict=True):
        targets = torch.tensor(targets_of(lesson.task, row, tokens))[list(tokens.own)]
        expected = expected + functional.cross_entropy(
            of_row[list(tokens.own)], targets, reduction="sum"
        )
        n_tokens += len(targets)
    assert loss.item() == pytest.approx((expected / n_tokens).item(), rel=1e-5)


def test_class_balance_weighs_tags_and_not_rows(base_dir: Path) -> None:
    tokenizer = reference_tokenizer(base_dir, BASE_ID)
    rows = (spans_row("ada@b.example", ("email", 0, 13)), *map(spans_row, "abcdefgh"))
    logits = torch.zeros(9, 20, len(LABELS))
    logits[..., 0] = 3.0  # every token is outside, which is wrong for the address alone

    plain, balanced = (
        Lesson(task=token_task(class_balance=balance), rows=rows) for balance in ("none", "full")
    )

    assert plain.weights == balanced.weights == [1.0] * 9
    of_each = [
        TokenLosses(lesson, tokenizer, 48).of(logits, range(9)) for lesson in (plain, balanced)
    ]
    assert of_each[1] > of_each[0]
