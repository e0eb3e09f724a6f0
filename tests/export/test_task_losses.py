"""Each level learns from its rows alone, on its columns alone, and is measured so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from hazgate_export.finetune.data import loss_weights
from hazgate_export.finetune.evaluate import best_threshold, measure_labels
from hazgate_export.finetune.model import new_adapter, start_head, trainable
from hazgate_export.finetune.tasks import Lesson, merge, texts_of
from hazgate_export.finetune.text_tasks import TextLosses, head_start
from hazgate_export.finetune_settings import TaskSettings
from hazgate_export.recipe_file import load_recipe
from tests.support.training import (
    BASE_ID,
    KINDS,
    PANEL,
    RULES,
    hazards,
    labelled,
    task,
    write_tiny_base,
)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("standin"))


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

    loss = TextLosses(lessons).of(logits, [0, 1, 2])

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

    TextLosses(lessons).of(logits, [0, 1, 2]).backward()

    assert logits.grad is not None
    moved = logits.grad != 0
    assert moved.tolist() == [[True] * 2 + [False] * 3, *[[False] * 2 + [True] * 3] * 2]


def test_a_batch_takes_the_targets_and_weights_of_its_own_texts() -> None:
    rows = [labelled("one"), labelled("two", level1="unsafe"), labelled("three")]
    losses = TextLosses(merge([task()], [rows]))
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
    settings = TaskSettings(data=RULES, class_balance="sqrt", source_balance="sqrt")
    lesson = Lesson(task=task(settings=settings), rows=tuple(rows))

    assert lesson.weights == loss_weights(rows, RULES, settings)


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
    model = new_adapter(base_dir, BASE_ID, ("safe", "unsafe", *KINDS), lora)
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
    losses = TextLosses(merge([hazards(first=0, label_smoothing=0.2)], [rows]))
    logits = torch.tensor([[-2.0, 0.5, 1.0]])

    expected = functional.binary_cross_entropy_with_logits(
        logits, torch.tensor([[0.1, 0.1, 0.9]]), reduction="sum"
    )
    assert losses.of(logits, [0]).item() == pytest.approx(expected.item(), rel=1e-6)


def test_probabilities_are_of_the_levels_columns_alone() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(task().probabilities(logits), logits[:, :2].softmax(-1))
    torch.testing.assert_close(hazards().probabilities(logits), logits[:, 2:].sigmoid())


# Figures


def test_multi_label_figures_count_sets_labels_and_the_single_label_protocol() -> None:
    held = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 1, 0]], bool)
    scores = np.array(
        [[0.9, 0.6, 0.1], [0.1, 0.8, 0.7], [0.1, 0.2, 0.9], [0.1, 0.4, 0.2]], np.float32
    )
    rows = [labelled(f"text {i}") for i in range(4)]

    found = measure_labels(rows, held, scores, KINDS, thresholds=(0.5, 0.5, 0.5))

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
