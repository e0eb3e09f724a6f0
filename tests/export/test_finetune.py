"""Whole runs of fine-tuning, on a tiny BERT: they can be repeated and continued."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import hazgate_export.finetune.train as training
from hazgate_export.errors import RecipeError
from hazgate_export.finetune.frozen import freeze, logits_above
from hazgate_export.finetune.model import new_adapter, trainable
from hazgate_export.finetune.run import FinetuneResult, finetune_level
from hazgate_export.finetune_settings import Candidate, FinetuneSettings
from tests.support.training import BASE_ID, LABELS, line, write_tiny_base

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


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("standin"))


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
            labels=LABELS,
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
    model = new_adapter(base_dir, BASE_ID, LABELS, SETTINGS.lora, 1).eval()
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
