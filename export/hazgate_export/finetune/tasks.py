"""Levels that one run trains together: their columns of the logits and their rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hazgate.judging.scores import Activation
from hazgate.judging.tags import Tags
from hazgate_export.finetune.data import Selection, Split, loss_weights, split, words_of
from hazgate_export.finetune.rows import TrainingRow
from hazgate_export.finetune_settings import TaskSettings

# The label of Level 1 that flags a text.
POSITIVE_LABEL = "unsafe"
# The tokens that learn a tag, and have one when texts are read: all, or the first of each word.
Tagged = Literal["tokens", "words"]


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
        tags: what the labels of a token level mean; None where labels are of a text.
        tagged: the tokens that learn a tag, at a token level.
        settings: the rows that it learns from, and how.
    """

    level: str
    labels: tuple[str, ...]
    first: int = 0
    activation: Activation = "softmax"
    positive: str | None = None
    thresholds: tuple[float, ...] = ()
    tags: Tags | None = None
    tagged: Tagged = "tokens"
    settings: TaskSettings

    @property
    def row_labels(self) -> tuple[str, ...]:
        """The labels that rows may have: of a token level the types of spans."""
        return self.labels if self.tags is None else self.tags.types

    @property
    def several(self) -> bool:
        """True if a row may have any number of labels."""
        return self.tags is not None or self.activation == "sigmoid"

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
        if self.task.tags is not None:  # its classes are those of tokens
            settings = settings.model_copy(update={"class_balance": "none"})
        weights = iter(loss_weights(known, settings.data, settings))
        return [0.0 if row is None else next(weights) * share for row in self.rows]


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
