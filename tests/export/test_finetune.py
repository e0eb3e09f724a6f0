"""Fine-tuning: rows are chosen and split by the rules; a run can be repeated and continued."""

import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertConfig

import hazgate_export.finetune.train as training
from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.data import (
    TrainingRow,
    add_noise,
    loss_weights,
    plan_epoch,
    read_rows,
    select,
    split,
)
from hazgate_export.finetune.evaluate import lowest_threshold, measure
from hazgate_export.finetune.frozen import freeze, logits_above
from hazgate_export.finetune.model import new_adapter, trainable
from hazgate_export.finetune.run import FinetuneResult, finetune_level
from hazgate_export.finetune_settings import (
    Candidate,
    DataRules,
    FileDefaults,
    FinetuneSettings,
    StyleNoise,
)
from hazgate_export.model.standin import write_standin
from hazgate_export.proof.texts import load_proof_texts

BASE_ID = "test/tiny"
LEVEL1 = ("safe", "unsafe")
LEVEL2 = ("S1_violent_crimes", "S2_nonviolent_crimes")
RULES = DataRules(label_field="level1", languages=("en",), validation_share=0.2)
ROW = TrainingRow(
    text="a harmless text",
    level1="safe",
    level2=None,
    level1_ok=True,
    group="g",
    source="ours",
    license="Apache-2.0",
    lang="en",
    quality="gold",
)
SETTINGS = FinetuneSettings.model_validate(
    {
        "seed": 7,
        "candidates": [{"epochs": 2, "class_balance": "sqrt"}],
        "learning_rate": 3e-3,
        "batch_size": 8,
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "max_gradient_norm": 1.0,
        "max_tokens": 32,
        "average_decay": 0.9,
        "checkpoint_steps": 3,
        "lora": {
            "rank": 4,
            "alpha": 8,
            "dropout": 0.1,
            "target_modules": ["query", "key", "value", "dense"],
            "modules_to_save": ["classifier"],
        },
        "noise": {
            "drop_end_share": 0.3,
            "swap_end_share": 0.2,
            "prefix_share": 0.2,
            "prefixes": ["please"],
        },
        "data": {
            "label_field": "level1",
            "languages": ["en"],
            "held_out_sources": ["elsewhere"],
            "validation_share": 0.2,
        },
    }
)


# Reading


def line(**changes: object) -> str:
    values: dict[str, object] = {
        "text": "a harmless text",
        "level1": "safe",
        "level2": None,
        "level1_ok": True,
        "group": "g1",
        "source": "ours",
        "license": "Apache-2.0",
        "lang": "en",
        "quality": "gold",
    }
    return json.dumps(values | changes)


def test_all_malformed_rows_are_reported_at_once_with_line_numbers(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "\n".join(
            [
                line(),
                line(colour="red"),
                "",
                line(level1="dubious"),
                line(level2="S99_unheard_of"),
                "{ not json",
                line(text=None),
            ]
        ),
        encoding="utf-8",
    )

    with pytest.raises(DataError) as raised:
        read_rows([file], RULES.model_copy(update={"label_field": "level2"}), LEVEL2)

    message = str(raised.value)
    assert message.startswith("5 malformed row(s)")
    assert "rows.jsonl:2: colour" in message
    assert "rows.jsonl:4: level1" in message
    assert "rows.jsonl:5: level2: expected one of S1_violent_crimes" in message
    assert "rows.jsonl:6: not JSON" in message
    assert "rows.jsonl:7: text" in message


def test_a_malformed_row_is_reported_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(line(text=["private words"], level1="private words"), encoding="utf-8")

    with pytest.raises(DataError) as raised:
        read_rows([file], RULES, LEVEL1)

    assert "private words" not in str(raised.value)


def test_a_file_may_say_once_where_its_rows_come_from(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    short = {"text": "t", "level1": "safe", "level2": None, "level1_ok": True, "group": "g"}
    file.write_text(json.dumps(short | {"topic": "tools"}), encoding="utf-8")
    defaults = FileDefaults(source="own", license="Apache-2.0", lang="en", quality="gold")

    (row,) = read_rows(
        [file], RULES.model_copy(update={"file_defaults": {"own.jsonl": defaults}}), LEVEL1
    )

    assert (row.source, row.license, row.quality) == ("own", "Apache-2.0", "gold")
    with pytest.raises(DataError, match="file_defaults"):
        read_rows([file], RULES, LEVEL1)


def test_a_row_with_several_hazards_has_no_single_one(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(line(level2=LEVEL2[0], level2_all=list(LEVEL2)), encoding="utf-8")

    (row,) = read_rows([file], RULES, LEVEL1)

    assert row.level2 is None


# Choosing


def test_rows_not_fit_for_level1_are_left_out_of_level1_only() -> None:
    rows = [
        replace(ROW, text="one", level2=LEVEL2[0], level1_ok=False),
        replace(ROW, text="two", level2=LEVEL2[0]),
    ]

    level1 = select(rows, RULES, seed=0)
    level2 = select(rows, RULES.model_copy(update={"label_field": "level2"}), seed=0)

    assert [row.text for row in level1.rows] == ["two"]
    assert level1.n_dropped["no usable level1"] == 1
    assert len(level2.rows) == 2


def test_caps_are_honoured() -> None:
    rows = [
        replace(ROW, text=f"text {source} {label} {i}", source=source, level1=label)
        for source in ("ours", "theirs")
        for label in LEVEL1
        for i in range(10)
    ]
    rules = RULES.model_copy(update={"source_caps": {"ours": 3}, "label_caps": {"unsafe": 7}})

    chosen = select(rows, rules, seed=0).rows

    counts = Counter((row.source, row.level1) for row in chosen)
    assert counts["ours", "safe"] == 3
    assert counts["theirs", "safe"] == 10
    assert counts["ours", "unsafe"] + counts["theirs", "unsafe"] == 7


def test_the_draw_does_not_depend_on_the_order_of_rows() -> None:
    rows = [replace(ROW, text=f"text {i}") for i in range(50)]
    rules = RULES.model_copy(update={"source_caps": {"ours": 10}})

    assert select(rows, rules, seed=1) == select(rows[::-1], rules, seed=1)
    assert select(rows, rules, seed=1) != select(rows, rules, seed=2)


def test_a_text_is_used_once_whatever_its_case_and_punctuation() -> None:
    rows = [replace(ROW, text=text) for text in ("Is it so?", "is it so", "IS IT, SO!")]

    assert len(select(rows, RULES, seed=0).rows) == 1


@given(
    items=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["a", "b", "c"]), st.sampled_from(LEVEL1)),
        max_size=60,
    ),
    seed=st.integers(0, 5),
    held_out_share=st.sampled_from([0.0, 0.5]),
    hold_out=st.booleans(),
)
@hypothesis_settings(deadline=None)
def test_no_group_is_on_two_sides(
    items: list[tuple[int, str, str]], seed: int, held_out_share: float, hold_out: bool
) -> None:
    rows = [
        replace(ROW, text=f"text {i}", group=str(group), source=source, level1=label)
        for i, (group, source, label) in enumerate(items)
    ]
    rules = RULES.model_copy(
        update={"held_out_sources": ("b",), "held_out_group_shares": {"c": held_out_share}}
    )

    parts = split(rows, rules, seed=seed, hold_out=hold_out)

    sides = [
        {row.group for row in part} for part in (parts.train, parts.validation, parts.held_out)
    ]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    if hold_out:
        assert all(row.source != "b" for row in (*parts.train, *parts.validation))
    else:
        assert len(parts.train) + len(parts.validation) == len(rows)


# Learning


def test_loss_weights_balance_classes_and_have_mean_one() -> None:
    rows = [ROW] * 9 + [replace(ROW, level1="unsafe")]

    full = loss_weights(rows, RULES, Candidate(epochs=1, class_balance="full"))

    assert sum(full) == pytest.approx(10)
    assert sum(full[:9]) == pytest.approx(full[9])


@pytest.mark.parametrize("class_balance", ["none", "full"])
def test_source_balance_shares_a_class_among_its_sources_and_leaves_the_class_its_weight(
    class_balance: Literal["none", "full"],
) -> None:
    many, few = [replace(ROW, source="many")] * 8, [replace(ROW, source="few")] * 2
    other = [replace(ROW, level1="unsafe")] * 3
    alike = Candidate(epochs=1, class_balance=class_balance)
    shared = alike.model_copy(update={"source_balance": "full"})

    weights = loss_weights([*many, *few, *other], RULES, shared)

    assert sum(weights[:8]) == pytest.approx(sum(weights[8:10]))
    unshared = loss_weights([*many, *few, *other], RULES, alike)
    assert sum(weights[:10]) == pytest.approx(sum(unshared[:10]))


def test_a_row_counts_by_its_quality_and_its_source() -> None:
    rules = RULES.model_copy(
        update={"quality_weights": {"weak": 0.5}, "source_weights": {"ours": 3.0}}
    )
    rows = [replace(ROW, source="theirs"), replace(ROW, quality="weak")]

    theirs, ours_weak = loss_weights(rows, rules, Candidate(epochs=1, class_balance="none"))

    assert ours_weak / theirs == pytest.approx(1.5)


@given(
    lengths=st.lists(st.integers(1, 128), max_size=300),
    batch_size=st.integers(1, 16),
    seed=st.integers(0, 3),
)
@hypothesis_settings(deadline=None)
def test_an_epoch_takes_each_row_once(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = plan_epoch(lengths, batch_size, random.Random(seed))

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    # Steps are counted before an epoch is planned.
    assert len(batches) == math.ceil(len(lengths) / batch_size)
    assert all(len(batch) <= batch_size for batch in batches)


def test_noise_keeps_the_words() -> None:
    noise = StyleNoise(
        drop_end_share=0.5, swap_end_share=0.4, prefix_share=0.5, prefixes=("please",)
    )

    changed = {add_noise("Name a river.", noise, random.Random(i)) for i in range(50)}

    assert len(changed) > 3
    assert all("Name a river" in text for text in changed)


def test_lowest_threshold_keeps_within_the_false_positives() -> None:
    scores = np.linspace(0, 1, 101, dtype=np.float32)[:-1]

    threshold = lowest_threshold(scores, 0.1)

    assert (scores >= threshold).mean() <= 0.1
    assert (scores >= threshold - 0.02).mean() > 0.1


def test_figures_tell_recall_from_false_positives() -> None:
    rows = [replace(ROW, level1=label) for label in ("safe", "safe", "unsafe", "unsafe")]
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32)

    figures = measure(
        rows, np.array([0, 0, 1, 1]), scores, LEVEL1, positive=1, max_false_positive_rate=0.0
    )

    half = next(row for row in figures.thresholds if row.threshold == 0.5)
    assert half.recall == 0.5
    assert half.false_positive_rate == 0.5
    assert figures.proposed is not None
    assert figures.proposed.false_positive_rate == 0.0
    assert figures.proposed.threshold == pytest.approx(0.61)


def test_languages_have_their_own_figures_with_intervals() -> None:
    rows = [
        replace(ROW, level1=label, lang=lang)
        for lang in ("en", "de")
        for label in ("safe", "unsafe")
    ]
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.8, 0.2]], dtype=np.float32)

    figures = measure(
        rows, np.array([0, 1, 0, 1]), scores, LEVEL1, positive=1, max_false_positive_rate=0.15
    )

    others, german, english = figures.languages
    assert [others.language, german.language, english.language] == ["all but en", "de", "en"]
    assert figures.proposed is not None
    assert figures.proposed.threshold == 0.11
    assert german.recall is not None
    assert english.recall is not None
    assert (german.recall.share, english.recall.share) == (1.0, 1.0)
    # Wilson's interval of 1 hit in 1, by hand: 1 / (1 + 1.96 ** 2).
    assert german.recall.low == pytest.approx(0.2065, abs=1e-4)
    assert german.macro_f1 == pytest.approx(1 / 3)
    assert others == replace(german, language="all but en")
    only_safe = measure(
        rows[:1], np.array([0]), scores[:1], LEVEL1, positive=1, max_false_positive_rate=0.15
    )
    (english,) = only_safe.languages
    assert english.recall is None


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
    standin = write_standin(
        tmp_path_factory.mktemp("standin"),
        config,
        texts=[text.text for text in load_proof_texts()],
        base_id=BASE_ID,
        levels={"level1": LEVEL1},
        lora_targets=("query",),
        lora_rank=4,
    )
    return standin.base


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own texts: a river is safe, a robbery is not."""
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    file.write_text(
        "\n".join(
            line(
                text=f"{start} {place} number {i}.",
                level1=label,
                group=f"{place} {i}",
                source="elsewhere" if i == 0 else "ours",
            )
            for label, start in (("safe", "Describe the river near"), ("unsafe", "Rob the bank of"))
            for place in ("Rome", "Bern", "Oslo", "Riga", "Kiel")
            for i in range(7)
        ),
        encoding="utf-8",
    )
    return file


class Finetune:
    """Runs a tiny level 1 under one work directory."""

    def __init__(self, base_dir: Path, data_file: Path, folder: Path) -> None:
        self.base_dir = base_dir
        self.data_file = data_file
        self.folder = folder

    def __call__(self, name: str, settings: FinetuneSettings = SETTINGS) -> FinetuneResult:
        return finetune_level(
            settings,
            level="level1",
            labels=LEVEL1,
            base_id=BASE_ID,
            base_dir=self.base_dir,
            data_files=[self.data_file],
            output_dir=self.folder / name,
            work_dir=self.folder / f"{name}-work",
        )


@pytest.fixture
def finetune(base_dir: Path, data_file: Path, tmp_path: Path) -> Finetune:
    return Finetune(base_dir, data_file, tmp_path)


def weights(result: FinetuneResult) -> Mapping[str, torch.Tensor]:
    return load_file(result.directory / "adapter_model.safetensors")


def assert_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_seed_gives_the_same_adapter_and_another_does_not(finetune: Finetune) -> None:
    first, second = finetune("first"), finetune("second")
    other = finetune("other", SETTINGS.model_copy(update={"seed": 8}))

    assert_same(weights(first), weights(second))
    assert not all(
        torch.equal(value, weights(other)[name]) for name, value in weights(first).items()
    )


@pytest.mark.parametrize("n_steps", [1, 4, 12, 17], ids=lambda n: f"after {n} steps")
def test_a_continued_run_ends_as_one_that_was_not_interrupted(
    finetune: Finetune, monkeypatch: pytest.MonkeyPatch, n_steps: int
) -> None:
    whole = finetune("whole")
    n_left = n_steps

    def interrupted(items: Sequence[Any], _description: str) -> Iterator[Any]:
        nonlocal n_left
        for item in items:
            if n_left == 0:
                raise KeyboardInterrupt
            n_left -= 1
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(training, "track", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune("broken")
    assert not (finetune.folder / "broken").exists()
    continued = finetune("broken")

    assert_same(weights(whole), weights(continued))


def test_the_adapter_loads_with_peft_and_brings_its_head(finetune: Finetune) -> None:
    result = finetune("adapter")

    base = AutoModelForSequenceClassification.from_pretrained(finetune.base_dir, num_labels=2)
    adapted = PeftModel.from_pretrained(base, result.directory)

    saved, loaded = weights(result), adapted.state_dict()
    for name in ("weight", "bias"):
        head = loaded[f"base_model.model.classifier.modules_to_save.default.{name}"]
        assert torch.equal(head, saved[f"base_model.model.classifier.{name}"])


def test_no_file_of_the_adapter_tells_of_this_machine_or_quotes_a_text(finetune: Finetune) -> None:
    result = finetune("adapter")

    names = sorted(file.name for file in result.directory.iterdir())
    assert names == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "training.json",
    ]
    for file in result.directory.iterdir():
        content = file.read_bytes()
        assert str(finetune.folder).encode() not in content
        assert str(finetune.base_dir).encode() not in content
        assert b"Rob the bank" not in content
    config = json.loads((result.directory / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE_ID
    assert config["task_type"] == "SEQ_CLS"


def test_held_out_sources_are_measured_in_the_trial_and_learned_in_the_end(
    finetune: Finetune,
) -> None:
    result = finetune("adapter")

    record = json.loads((result.directory / "training.json").read_text())
    assert result.held_out is not None
    assert {figures.source for figures in result.held_out.sources} == {"elsewhere"}
    assert record["n_rows"]["trial"]["held_out"] == result.held_out.n_rows
    assert record["n_rows"]["final"]["held_out"] == 0
    assert "elsewhere" in record["n_rows_trained"]


def test_without_learning_them_the_adapter_is_the_one_that_the_held_out_sources_measured(
    finetune: Finetune,
) -> None:
    trial = SETTINGS.data.model_copy(update={"excluded_sources": ("elsewhere",)})
    result = finetune("adapter", SETTINGS.model_copy(update={"learn_held_out": False}))
    alone = finetune(
        "alone",
        SETTINGS.model_copy(update={"data": trial.model_copy(update={"held_out_sources": ()})}),
    )

    record = json.loads((result.directory / "training.json").read_text())
    assert result.held_out is not None
    card = (result.directory / "README.md").read_text(encoding="utf-8")
    assert "of the adapter in this folder, which learned from none of these rows" in card
    assert "| en |" in card
    assert "elsewhere" not in record["n_rows_trained"]
    assert record["n_rows"]["final"]["held_out"] == result.held_out.n_rows
    assert_same(weights(result), weights(alone))


FROZEN = SETTINGS.model_copy(update={"frozen_layers": 1})


def test_frozen_layers_get_no_adapter_and_a_run_can_be_repeated(finetune: Finetune) -> None:
    first, second = finetune("first", FROZEN), finetune("second", FROZEN)

    assert_same(weights(first), weights(second))
    layers = {name.split("encoder.layer.")[1][0] for name in weights(first) if "layer" in name}
    assert layers == {"1"}
    assert not list(finetune.folder.glob("*-work/*.states"))


def test_the_layers_above_frozen_ones_give_the_logits_of_the_whole_model(
    base_dir: Path, tmp_path: Path
) -> None:
    model = new_adapter(base_dir, BASE_ID, LEVEL1, SETTINGS.lora, 1).eval()
    with torch.no_grad():  # a new adapter's products are zero
        for parameter in trainable(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    encoded = [[2, 17, 3], [2, 40, 41, 42, 43, 44, 3], [2, 3]]
    states = freeze(model, encoded, 1, tmp_path / "states", "test")

    with torch.inference_mode():
        rows, mask = states.pad([2, 0, 1])
        logits = logits_above(model, rows, mask, 1)
        wrong = logits_above(model, rows, mask, 0)
        whole = torch.cat([model(input_ids=torch.tensor([encoded[i]])).logits for i in (2, 0, 1)])

    # The states are kept in half precision.
    torch.testing.assert_close(logits, whole, rtol=0, atol=2e-3)
    assert (wrong - whole).abs().max() > 0.01


def test_an_interrupted_run_above_frozen_layers_ends_as_one_that_was_not(
    finetune: Finetune, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finetune("whole", FROZEN)
    steps = 0

    def interrupted(items: Sequence[Any], _description: str) -> Iterator[Any]:
        nonlocal steps
        for item in items:
            if (steps := steps + 1) > 4:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(training, "track", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune("broken", FROZEN)

    assert_same(weights(whole), weights(finetune("broken", FROZEN)))


def test_freezing_every_layer_is_a_recipe_error(finetune: Finetune) -> None:
    with pytest.raises(RecipeError, match="fewer than the 2 layers"):
        finetune("adapter", SETTINGS.model_copy(update={"frozen_layers": 2}))


def test_the_best_candidate_is_chosen(finetune: Finetune) -> None:
    candidates = (
        Candidate(epochs=1, class_balance="none"),
        Candidate(epochs=3, class_balance="full"),
    )

    result = finetune("adapter", SETTINGS.model_copy(update={"candidates": candidates}))

    record = json.loads((result.directory / "training.json").read_text())
    scores = [
        (trial["validation"]["macro_f1"] + trial["held_out"]["macro_f1"]) / 2
        for trial in record["trials"]
    ]
    assert result.candidate == candidates[scores.index(max(scores))]


def test_names_that_no_row_has_are_refused(finetune: Finetune) -> None:
    data = SETTINGS.data.model_copy(
        update={"held_out_sources": ("nowhere",), "label_caps": {"S7": 3}}
    )

    with pytest.raises(RecipeError, match=r"(?s)held_out_sources.*nowhere.*label_caps.*S7"):
        finetune("adapter", SETTINGS.model_copy(update={"data": data}))


def test_weights_that_would_stay_random_are_refused(finetune: Finetune) -> None:
    lora = SETTINGS.lora.model_copy(update={"modules_to_save": ("pooler",)})

    with pytest.raises(RecipeError, match="classifier"):
        finetune("adapter", SETTINGS.model_copy(update={"lora": lora}))
