"""Labelled texts: what a variant's changed decisions cost, and when that is too much."""

import json
from pathlib import Path

import numpy as np
import pytest

from hazgate import Bundle
from hazgate_export.errors import DataError, RecipeError
from hazgate_export.proof.agreement import agreement_table, judge, measure_agreement
from hazgate_export.recipe import ParityLimits
from hazgate_export.recipe_file import load_recipe

GATE = ParityLimits(max_abs_logit_diff=1.0, max_changed_share=0.005, max_invariance_diff=1e-4)

FINETUNE = """
[levels.{level}.finetune]
seed = 1
candidates = [{{ epochs = 1, class_balance = "none" }}]
learning_rate = 1e-3
batch_size = 4
warmup_ratio = 0.1
weight_decay = 0.0
max_gradient_norm = 1.0
max_tokens = 32
[levels.{level}.finetune.lora]
rank = 2
alpha = 4
dropout = 0.0
target_modules = ["query"]
modules_to_save = ["classifier"]
[levels.{level}.finetune.data]
label_field = "{level}"
languages = ["en"]
validation_share = 0.2
"""


def _row(i: int) -> dict[str, object]:
    unsafe = i % 2 == 1
    return {
        # Some are longer than a window.
        "text": f"sentence number {i} about {'locks' if unsafe else 'bread'}{' and' * 9 * i}",
        "level1": "unsafe" if unsafe else "safe",
        "level2": "S2_nonviolent_crimes" if unsafe else None,
        "level1_ok": True,
        "group": f"g{i}",
        "source": "own",
        "license": "Apache-2.0",
        "lang": "en",
        "quality": "gold",
    }


@pytest.fixture
def recipe(tiny_recipe: Path) -> Path:
    file = tiny_recipe.with_name("with-data.toml")
    tables = "".join(FINETUNE.format(level=level) for level in ("level1", "level2"))
    file.write_text(tiny_recipe.read_text(encoding="utf-8") + tables, encoding="utf-8")
    return file


def test_each_level_is_measured_on_the_rows_that_carry_its_labels(
    tiny_bundle: Path, recipe: Path, tmp_path: Path
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(_row(i)) + "\n" for i in range(30)), encoding="utf-8")
    bundle = Bundle.open(tiny_bundle)
    first, second = measure_agreement(bundle, load_recipe(recipe), [data], n_texts=20, seed=0)
    assert (first.level, first.variant, first.n_texts) == ("level1", "int8", 20)
    assert (second.level, second.n_texts) == ("level2", 15)
    assert 0 <= first.macro_f1 <= 1
    assert "20" in agreement_table([first, second])


def test_a_recipe_without_data_rules_and_data_without_rows_are_refused(
    tiny_bundle: Path, tiny_recipe: Path, recipe: Path, tmp_path: Path
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(_row(0)) + "\n", encoding="utf-8")
    bundle = Bundle.open(tiny_bundle)
    with pytest.raises(RecipeError, match="table finetune"):
        measure_agreement(bundle, load_recipe(tiny_recipe), [data], n_texts=9, seed=0)
    with pytest.raises(DataError, match="level2: no row"):
        measure_agreement(bundle, load_recipe(recipe), [data], n_texts=9, seed=0)


def test_up_to_half_a_percent_of_changed_decisions_passes_and_more_does_not() -> None:
    truth = np.arange(1000) % 2
    few = truth.copy()
    few[:4] = 1 - few[:4]
    assert judge("l", "v", truth, few, truth, GATE).problems == ()
    six = truth.copy()
    six[:6] = 1 - six[:6]
    (problem,) = judge("l", "v", truth, six, truth, GATE).problems[:1]
    assert "6 of 1000" in problem


def test_a_loss_of_macro_f1_is_a_problem_even_if_few_decisions_change() -> None:
    truth = np.zeros(1000, dtype=np.int64)
    truth[:4] = 1  # a rare label, all of whose texts are lost
    lost = np.zeros(1000, dtype=np.int64)
    (problem,) = judge("l", "v", truth, lost, truth, GATE).problems
    assert "macro-F1 falls" in problem


def test_changes_for_the_better_are_still_changes_but_no_loss() -> None:
    truth = np.arange(100) % 2
    reference = truth.copy()
    reference[:10] = 1 - reference[:10]
    agreement = judge("l", "v", truth, truth, reference, GATE)
    assert agreement.decisions_changed == 10
    assert not any("macro-F1" in problem for problem in agreement.problems)


def test_several_labels_are_scored_label_by_label() -> None:
    # Labels 0 and 2 hold, label 1, none, all three.
    truth = np.array([0b101, 0b010, 0b000, 0b111])
    agreement = judge("l", "v", truth, truth, truth, GATE, n_several=3)
    assert (agreement.macro_f1, agreement.decisions_changed) == (1.0, 0)
    # One of two rows loses label 2: its F1 falls to 2/3, that of the others stays.
    lost = np.array([0b001, 0b010, 0b000, 0b111])
    agreement = judge("l", "v", truth, lost, truth, GATE, n_several=3)
    assert agreement.macro_f1 == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert (agreement.decisions_changed, agreement.n_decisions) == (1, 12)
    assert len(agreement.problems) == 2
