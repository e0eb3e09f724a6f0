"""Tasks on whole texts: their losses, and their figures on rows that no run learned from."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hazgate_export.finetune.evaluate import Figures, measure, measure_labels
from hazgate_export.finetune.rows import TrainingRow
from hazgate_export.finetune.tasks import Lesson, Task


def head_start(lessons: Sequence[Lesson]) -> Tensor:
    """Return the bias with which the classifier starts, float32 [columns].

    A sigmoid column starts at the log-odds of its label among the task's rows, weighed as in the
    loss. Else the first steps would teach the body, which all levels share, to answer no.
    """
    start = torch.zeros(sum(len(lesson.task.labels) for lesson in lessons))
    for lesson in lessons:
        if lesson.task.activation == "sigmoid":
            weights = torch.tensor(lesson.weights)
            held = (_targets(lesson) * weights[:, None]).sum(0) / weights.sum()
            smoothing = lesson.task.settings.label_smoothing
            start[lesson.task.columns] = torch.logit(held * (1 - smoothing) + smoothing / 2, 1e-3)
    return start


class TextLosses:
    """The summed losses of several tasks over batches of a run's texts."""

    def __init__(self, lessons: Sequence[Lesson]) -> None:
        self._parts = [
            (lesson.task, _targets(lesson), torch.tensor(lesson.weights)) for lesson in lessons
        ]

    def of(self, logits: Tensor, batch: Sequence[int]) -> Tensor:
        """Return the loss of a batch, float32 [].

        Args:
            logits: of the batch's texts, [batch, columns of all tasks].
            batch: numbers of the texts.
        """
        parts = [
            (_losses(task, logits[:, task.columns].float(), targets[batch]) * weights[batch]).mean()
            for task, targets, weights in self._parts
        ]
        return torch.stack(parts).sum()


def figures_of(task: Task, rows: Sequence[TrainingRow], logits: Tensor) -> Figures:
    """Return a task's figures on rows.

    Args:
        task: the task.
        rows: at least one, each with a label of the task.
        logits: of each row's text, float32 [rows, columns of all tasks].
    """
    scores = task.probabilities(logits).numpy()
    if task.activation == "sigmoid":
        held = [[label in (row.labels(task.field) or ()) for label in task.labels] for row in rows]
        return measure_labels(
            rows, np.asarray(held), scores, task.labels, thresholds=task.thresholds
        )
    targets = [task.labels.index(label) for row in rows if (label := row.label(task.field))]
    return measure(
        rows,
        np.asarray(targets),
        scores,
        task.labels,
        positive=None if task.positive is None else task.labels.index(task.positive),
        max_false_positive_rate=task.settings.max_false_positive_rate,
    )


def _targets(lesson: Lesson) -> Tensor:
    """Return int64 [texts], or float32 [texts, labels] where several may hold."""
    task = lesson.task
    if task.activation == "sigmoid":
        held = [() if row is None else row.labels(task.field) or () for row in lesson.rows]
        return torch.tensor([[float(label in labels) for label in task.labels] for labels in held])
    # The target of a text that teaches nothing does not matter: its weight is 0.
    named = [None if row is None else row.label(task.field) for row in lesson.rows]
    return torch.tensor([0 if label is None else task.labels.index(label) for label in named])


def _losses(task: Task, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each text, float32 [batch]."""
    smoothing = task.settings.label_smoothing
    if task.activation == "softmax":
        return functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=smoothing
        )
    smoothed = targets * (1 - smoothing) + smoothing / 2
    # The sum over labels: it is of the size of one cross entropy over as many.
    return functional.binary_cross_entropy_with_logits(logits, smoothed, reduction="none").sum(-1)
