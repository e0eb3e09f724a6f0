"""Levels that one run trains together: their columns of the logits, their rows, their losses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hazgate.judging.scores import Activation
from hazgate_export.finetune.data import (
    Selection,
    Split,
    TrainingRow,
    loss_weights,
    split,
    words_of,
)
from hazgate_export.finetune_settings import TaskSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One level's part of a run.

    Attributes:
        level: its name.
        labels: of its columns, in their order.
        first: number of its first column among the classifier's outputs.
        activation: "softmax" if exactly one label holds, "sigmoid" if each holds or not.
        positive: the label that a softmax level looks for, None without one.
        thresholds: from which probability each label of a sigmoid level holds, in their order.
        settings: the rows that it learns from, and how.
    """

    level: str
    labels: tuple[str, ...]
    first: int = 0
    activation: Activation = "softmax"
    positive: str | None = None
    thresholds: tuple[float, ...] = ()
    settings: TaskSettings

    @property
    def columns(self) -> slice:
        """Its columns of the logits."""
        return slice(self.first, self.first + len(self.labels))

    @property
    def field(self) -> str:
        """The field of a row that holds its label."""
        return self.settings.data.label_field

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return float32 [texts, labels] of the task from logits [texts, columns] of all."""
        own = logits[:, self.columns].float()
        return own.sigmoid() if self.activation == "sigmoid" else own.softmax(dim=-1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One choice of what a recipe leaves open: epochs, and how each task weighs its rows."""

    epochs: int
    tasks: tuple[Task, ...]

    def __str__(self) -> str:
        balances = [
            f"{f'{task.level} ' if len(self.tasks) > 1 else ''}class balance "
            f"{task.settings.class_balance}, source balance {task.settings.source_balance}"
            for task in self.tasks
        ]
        return f"{self.epochs} epochs, {'; '.join(balances)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """The texts of a run as rows of one task.

    Attributes:
        task: the task.
        rows: the task's row of each text, None where a text teaches it nothing.
    """

    task: Task
    rows: tuple[TrainingRow | None, ...]

    @property
    def weights(self) -> list[float]:
        """The weight of each text in the task's loss; 0 for texts that teach it nothing.

        Over all texts its mean is the task's `loss_weight`.
        """
        known = [row for row in self.rows if row is not None]
        if not known:
            return [0.0] * len(self.rows)
        settings = self.task.settings
        # As if every text had a label: a level with few rows counts as much as one with many.
        share = settings.loss_weight * (len(self.rows) / len(known))
        weights = iter(loss_weights(known, settings.data, settings))
        return [0.0 if row is None else next(weights) * share for row in self.rows]


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


class Losses:
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


def merge(tasks: Sequence[Task], rows_of: Sequence[Sequence[TrainingRow]]) -> tuple[Lesson, ...]:
    """Gather the rows of several tasks by text: a text that serves several is read once.

    The lessons' texts are those of the first task in their order, then those that the next ones
    add.

    Args:
        tasks: the tasks.
        rows_of: the rows of each, with no text twice.
    """
    numbers: dict[str, int] = {}
    for rows in rows_of:
        for row in rows:
            numbers.setdefault(row.text, len(numbers))
    lessons = []
    for task, rows in zip(tasks, rows_of, strict=True):
        aligned: list[TrainingRow | None] = [None] * len(numbers)
        for row in rows:
            aligned[numbers[row.text]] = row
        lessons.append(Lesson(task=task, rows=tuple(aligned)))
    return tuple(lessons)


def texts_of(lessons: Sequence[Lesson]) -> list[str]:
    """Return the texts of a run."""
    return [
        next(row.text for row in rows if row is not None)
        for rows in zip(*(lesson.rows for lesson in lessons), strict=True)
    ]


def split_together(
    tasks: Sequence[Task], selections: Sequence[Selection], *, seed: int, hold_out: bool
) -> tuple[Split, ...]:
    """Split the rows of each task; what one keeps from learning, no other learns from, either.

    Args:
        tasks: the tasks, with the sources and shares that each holds out.
        selections: the rows of each.
        seed: of the draw of groups; the same group is drawn for all.
        hold_out: see `split`.
    """
    parts = [
        split(selection.rows, task.settings.data, seed=seed, hold_out=hold_out)
        for task, selection in zip(tasks, selections, strict=True)
    ]
    apart = [row for part in parts for row in (*part.validation, *part.held_out)]
    groups = {row.group for row in apart}
    words = {words_of(row.text) for row in apart}
    return tuple(
        Split(
            train=tuple(
                row
                for row in part.train
                if row.group not in groups and words_of(row.text) not in words
            ),
            validation=part.validation,
            held_out=part.held_out,
        )
        for part in parts
    )


def column_labels(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the labels of all columns, of tasks that cover them without gaps."""
    ordered = sorted(tasks, key=lambda task: task.first)
    return tuple(label for task in ordered for label in task.labels)


def column_gaps(columns: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the columns before the last one that no level owns, as first column and end.

    Args:
        columns: first column and end of each level; none overlap.
    """
    gaps = []
    reached = 0
    for first, end in sorted(columns):
        if first > reached:
            gaps.append((reached, first))
        reached = end
    return gaps


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
