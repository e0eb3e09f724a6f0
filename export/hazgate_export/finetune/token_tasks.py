"""A task on tokens: its loss, and its figures on rows that no run learned from."""

from collections import Counter
from collections.abc import Sequence

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from hazgate.text.words import find_tagged_spans
from hazgate_export.finetune.data import EXPONENTS
from hazgate_export.finetune.measure_spans import TokenLevelFigures, measure_spans
from hazgate_export.finetune.predict import ReadTokens, predict_token_logits, read_tokens
from hazgate_export.finetune.rows import TrainingRow
from hazgate_export.finetune.tagging import NO_TAG, tag_numbers
from hazgate_export.finetune.tasks import Lesson, Task


class TokenLosses:
    """The summed loss of one token task over batches of a run's texts."""

    def __init__(self, lesson: Lesson, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        rows = [row for row in lesson.rows if row is not None]
        read = read_tokens(tokenizer, [row.text for row in rows], max_tokens)
        self._targets = [
            targets_of(lesson.task, row, tokens) for row, tokens in zip(rows, read, strict=True)
        ]
        self._row_weights = torch.tensor(lesson.weights)
        self._tag_weights = torch.tensor(
            tag_weights(
                self._targets,
                len(lesson.task.labels),
                EXPONENTS[lesson.task.settings.class_balance],
            )
        )
        self._smoothing = lesson.task.settings.label_smoothing

    def of(self, logits: Tensor, batch: Sequence[int]) -> Tensor:
        """Return the loss of a batch, the mean over the tokens that learn a tag, float32 [].

        Args:
            logits: of the batch's texts, [batch, tokens, tags].
            batch: numbers of the texts.
        """
        longest = logits.shape[1]
        targets = torch.tensor(
            [[*self._targets[i], *[NO_TAG] * (longest - len(self._targets[i]))] for i in batch]
        )
        losses = functional.cross_entropy(
            logits.float().transpose(1, 2),
            targets,
            weight=self._tag_weights,
            ignore_index=NO_TAG,
            reduction="none",
            label_smoothing=self._smoothing,
        )
        n_tokens = (targets != NO_TAG).sum().clamp(min=1)
        total: Tensor = (losses * self._row_weights[list(batch), None]).sum() / n_tokens
        return total


def targets_of(task: Task, row: TrainingRow, tokens: ReadTokens) -> list[int]:
    """Return the number of the tag that each token of a row learns, NO_TAG of special ones."""
    assert task.tags is not None, "only token levels have tags"
    numbers = tag_numbers(row.text, tokens.own_offsets, row.spans, task.tags, task.tagged)
    targets = [NO_TAG] * len(tokens.ids)
    for i, number in zip(tokens.own, numbers, strict=True):
        targets[i] = number
    return targets


def tag_weights(targets: Sequence[Sequence[int]], n_tags: int, exponent: float) -> list[float]:
    """Weigh each tag by a power of its number of tokens; the mean over tokens is 1.

    Args:
        targets: the tags of each text's tokens, NO_TAG where there is none.
        n_tags: number of tags; one without a token has the weight of one with a single token.
        exponent: 0 for equal weights, 1 for the inverse of the number of tokens.
    """
    counts = Counter(number for row in targets for number in row if number != NO_TAG)
    raw = [max(counts[i], 1) ** -exponent for i in range(n_tags)]
    total = sum(counts[i] * weight for i, weight in enumerate(raw))
    return [weight * counts.total() / total for weight in raw]


def figures_of(
    task: Task,
    rows: Sequence[TrainingRow],
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
) -> TokenLevelFigures:
    """Return a task's figures on at least one row, of which the first `max_tokens` are read."""
    assert task.tags is not None, "only token levels have tags"
    read = read_tokens(tokenizer, [row.text for row in rows], max_tokens)
    logits = predict_token_logits(model, tokenizer, read)
    found = [
        find_tagged_spans(
            row.text, tokens.own_offsets, of_row, task.tags, by_word=task.tagged == "words"
        )
        for row, tokens, of_row in zip(rows, read, logits, strict=True)
    ]
    return measure_spans(rows, found, task.row_labels)
