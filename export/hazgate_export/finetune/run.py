"""Fine-tuning of levels from data files to an adapter directory with its card."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peft import PeftModel

from hazgate.cli.progress import step
from hazgate.documents.folders import partial_folder
from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.card import Trained, TrialOutcome, write_card, write_record
from hazgate_export.finetune.data import (
    NO_LABEL,
    Selection,
    Split,
    TrainingRow,
    read_rows,
    select,
)
from hazgate_export.finetune.evaluate import Figures, measure, measure_labels
from hazgate_export.finetune.model import new_adapter, save_adapter, save_labels, start_head
from hazgate_export.finetune.tasks import (
    Lesson,
    Plan,
    Task,
    column_labels,
    head_start,
    merge,
    split_together,
    texts_of,
)
from hazgate_export.finetune.train import Run, predict_logits, repeatable, train
from hazgate_export.finetune_settings import (
    Candidate,
    FinetuneSettings,
    RunSettings,
    SharedSettings,
    TaskSettings,
)
from hazgate_export.model.tokenizer_files import reference_tokenizer

POSITIVE_LABEL = "unsafe"


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneResult:
    """A written adapter of one level and its figures.

    Attributes:
        directory: holds weights, configuration, README.md and training.json.
        candidate: the one that was chosen.
        held_out: figures of a trial run on sources that it had not seen; None without any.
        validation: figures of the written adapter on other items of its own sources.
    """

    directory: Path
    candidate: Candidate
    held_out: Figures | None
    validation: Figures

    @property
    def epochs(self) -> int:
        """Epochs of the final run."""
        return self.candidate.epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedResult:
    """A written adapter of several levels and their figures, by level; see FinetuneResult."""

    directory: Path
    epochs: int
    held_out: Mapping[str, Figures | None]
    validation: Mapping[str, Figures]


def finetune_level(
    settings: FinetuneSettings,
    *,
    level: str,
    labels: tuple[str, ...],
    base_id: str,
    base_dir: Path,
    data_files: Sequence[Path],
    output_dir: Path,
    work_dir: Path,
) -> FinetuneResult:
    """Train a level's adapter and write it with its card; continue an interrupted run.

    Each candidate is tried without the held-out rows. The one with the best mean of macro-F1 on
    validation and held-out rows is trained again, held-out rows included, and written; without
    `learn_held_out` it is written as it is.

    Args:
        settings: the recipe's table.
        level: the level's name, for the card and the checkpoints.
        labels: the head's labels in the order of the logits.
        base_id: the base's published name, which the adapter refers to.
        base_dir: the base model.
        data_files: JSON lines; see the README of the exporter for the fields.
        output_dir: becomes the adapter; an older one is replaced as a whole, or left as it is.
        work_dir: receives checkpoints, named by a digest of everything that decides the run.

    Raises:
        DataError: rows are malformed, or a part of the split lacks a label.
        RecipeError: the settings name unknown sources, labels or modules.
        SourceError: the base cannot be loaded.
    """
    is_level1 = settings.data.label_field == "level1"
    plans = tuple(
        Plan(
            epochs=candidate.epochs,
            tasks=(
                Task(
                    level=level,
                    labels=labels,
                    positive=POSITIVE_LABEL if is_level1 else None,
                    settings=TaskSettings(
                        class_balance=candidate.class_balance,
                        source_balance=candidate.source_balance,
                        label_smoothing=settings.label_smoothing,
                        max_false_positive_rate=settings.max_false_positive_rate,
                        data=settings.data,
                    ),
                ),
            ),
        )
        for candidate in settings.candidates
    )
    body = _Body(
        name=level, settings=settings, base_id=base_id, base_dir=base_dir, work_dir=work_dir
    )
    trained = _finetune(body, plans, data_files, output_dir)
    return FinetuneResult(
        directory=output_dir,
        candidate=settings.candidates[plans.index(trained.chosen)],
        held_out=trained.held_out[level],
        validation=trained.validation[level],
    )


def finetune_together(
    settings: SharedSettings,
    *,
    name: str,
    tasks: Sequence[Task],
    base_id: str,
    base_dir: Path,
    data_files: Sequence[Path],
    output_dir: Path,
    work_dir: Path,
) -> SharedResult:
    """Train several levels as one adapter, with one classifier of all their columns.

    A text that one level holds out, or keeps for validation, teaches no other level either.

    Args:
        settings: the recipe's table `[finetune]`.
        name: the adapter's name, for the card and the checkpoints.
        tasks: the levels; their columns follow one another without gaps.
        base_id: see finetune_level.
        base_dir: see finetune_level.
        data_files: see finetune_level.
        output_dir: see finetune_level.
        work_dir: see finetune_level.

    Raises:
        DataError: rows are malformed, or a part of a level's split lacks a label.
        RecipeError: the settings name unknown sources, labels or modules.
        SourceError: the base cannot be loaded.
    """
    plans = tuple(Plan(epochs=epochs, tasks=tuple(tasks)) for epochs in settings.epochs)
    body = _Body(
        name=name, settings=settings, base_id=base_id, base_dir=base_dir, work_dir=work_dir
    )
    trained = _finetune(body, plans, data_files, output_dir)
    return SharedResult(
        directory=output_dir,
        epochs=trained.chosen.epochs,
        held_out=trained.held_out,
        validation=trained.validation,
    )


def _finetune(
    body: "_Body", plans: Sequence[Plan], data_files: Sequence[Path], output_dir: Path
) -> Trained:
    """Try each plan, train the best one finally, and write its adapter."""
    settings = body.settings
    tasks = plans[0].tasks  # the same rows in every plan
    selections = _select(tasks, data_files, settings.seed)
    trial_splits = split_together(tasks, selections, seed=settings.seed, hold_out=True)
    _check_parts(tasks, trial_splits)
    trials = tuple(body.trial(plan, trial_splits) for plan in plans)
    chosen = max(trials, key=lambda trial: trial.score).plan
    final_splits = (
        split_together(tasks, selections, seed=settings.seed, hold_out=False)
        if settings.learn_held_out
        else trial_splits
    )
    step(f"{body.name}: {chosen}")
    model = body.train(chosen, final_splits, "final run")
    trained = Trained(
        name=body.name,
        base_id=body.base_id,
        settings=settings,
        data_files={file.name: _sha256(file) for file in data_files},
        selections=selections,
        trial_splits=trial_splits,
        final_splits=final_splits,
        trials=trials,
        chosen=chosen,
        validation={
            task.level: body.measure(model, task, part.validation)
            for task, part in zip(chosen.tasks, final_splits, strict=True)
        },
    )
    _write(output_dir, model, trained)
    return trained


@dataclass(frozen=True, kw_only=True, slots=True)
class _Body:
    """Inputs that all runs of an adapter share."""

    name: str
    settings: RunSettings
    base_id: str
    base_dir: Path
    work_dir: Path

    def trial(self, plan: Plan, splits: Sequence[Split]) -> TrialOutcome:
        model = self.train(plan, splits, "trial")
        parts = list(zip(plan.tasks, splits, strict=True))
        return TrialOutcome(
            plan=plan,
            validation={
                task.level: self.measure(model, task, part.validation) for task, part in parts
            },
            held_out={
                task.level: self.measure(model, task, part.held_out) if part.held_out else None
                for task, part in parts
            },
        )

    def train(self, plan: Plan, splits: Sequence[Split], name: str) -> PeftModel:
        tokenizer = reference_tokenizer(self.base_dir, self.base_id)
        lessons = merge(plan.tasks, [part.train for part in splits])
        with repeatable(self.settings.seed):
            model = new_adapter(
                self.base_dir,
                self.base_id,
                column_labels(plan.tasks),
                self.settings.lora,
                self.settings.frozen_layers,
            )
            start_head(model, head_start(lessons))
            train(
                model,
                tokenizer,
                Run(
                    name=f"{self.name} {name}",
                    lessons=lessons,
                    epochs=plan.epochs,
                    settings=self.settings,
                    checkpoint=self.work_dir / f"{self.name}-{self._digest(plan, lessons)}.pt",
                ),
            )
        return model

    def measure(self, model: PeftModel, task: Task, rows: tuple[TrainingRow, ...]) -> Figures:
        tokenizer = reference_tokenizer(self.base_dir, self.base_id)
        logits = predict_logits(model, tokenizer, [row.text for row in rows], self.settings)
        scores = task.probabilities(logits).numpy()
        if task.activation == "sigmoid":
            held = [
                [label in (row.labels(task.field) or ()) for label in task.labels] for row in rows
            ]
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

    def _digest(self, plan: Plan, lessons: Sequence[Lesson]) -> str:
        """Digest everything that decides the weights, so that checkpoints are never mixed up."""
        # The interval of checkpoints, the choice of plans and of files, and later measurements do
        # not change the weights.
        settings = self.settings.model_dump(
            mode="json",
            exclude={
                "candidates",
                "checkpoint_steps",
                "data",
                "epochs",
                "file_defaults",
                "label_smoothing",
                "learn_held_out",
                "max_false_positive_rate",
            },
        )
        inputs = {
            "settings": settings,
            "start": head_start(lessons).tolist(),
            "epochs": plan.epochs,
            "base": [_sha256(file) for file in sorted(self.base_dir.glob("*.safetensors"))],
            "texts": texts_of(lessons),
            "lessons": [
                {
                    "labels": lesson.task.labels,
                    "first": lesson.task.first,
                    "activation": lesson.task.activation,
                    "label_smoothing": lesson.task.settings.label_smoothing,
                    "weights": lesson.weights,
                    "targets": [row and row.labels(lesson.task.field) for row in lesson.rows],
                }
                for lesson in lessons
            ],
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _select(tasks: Sequence[Task], data_files: Sequence[Path], seed: int) -> tuple[Selection, ...]:
    """Read and select the rows of each task; name every problem of the rules at once."""
    fields = [task.field for task in tasks]
    selections = []
    problems: list[str] = []
    for task in tasks:
        rules = task.settings.data
        rows = read_rows(
            data_files,
            rules,
            task.labels,
            several=task.activation == "sigmoid",
            other_fields=fields,
        )
        place = f"{task.level}: " if len(tasks) > 1 else ""
        problems += [f"{place}{problem}" for problem in _name_problems(task, rows)]
        selections.append(select(rows, rules, seed=seed))
    if problems:
        raise RecipeError("\n".join(problems))
    return tuple(selections)


def _name_problems(task: Task, rows: Sequence[TrainingRow]) -> list[str]:
    rules, labels = task.settings.data, task.labels
    sources = {row.source for row in rows}
    named = {
        "excluded_sources": rules.excluded_sources,
        "source_caps": tuple(rules.source_caps),
        "source_weights": tuple(rules.source_weights),
        "held_out_sources": rules.held_out_sources,
        "held_out_group_shares": tuple(rules.held_out_group_shares),
    }
    problems = [
        f"data.{key}: no row is from {', '.join(sorted(unknown))}"
        for key, names in named.items()
        if (unknown := set(names) - sources)
    ]
    several = task.activation == "sigmoid"
    known = {*labels, NO_LABEL} if several else set(labels)
    capped = {
        part for name in rules.label_caps for part in (name.split("+") if several else [name])
    }
    if unknown := capped - known:
        problems.append(f"data.label_caps: no such label: {', '.join(sorted(unknown))}")
    if rules.label_field == "level1" and POSITIVE_LABEL not in labels:
        problems.append(f"data.label_field: level1 needs the label {POSITIVE_LABEL}")
    return problems


def _check_parts(tasks: Sequence[Task], splits: Sequence[Split]) -> None:
    problems = []
    for task, parts in zip(tasks, splits, strict=True):
        place = f"{task.level}: " if len(tasks) > 1 else ""
        for name, rows in (("training", parts.train), ("validation", parts.validation)):
            found = {label for row in rows for label in row.labels(task.field) or ()}
            if missing := [label for label in task.labels if label not in found]:
                problems.append(f"{place}no {name} row is labelled {', '.join(missing)}")
    if problems:
        raise DataError("; ".join(problems))


def _write(output_dir: Path, model: PeftModel, trained: Trained) -> None:
    """Write a complete adapter, then move it to `output_dir` in place of an older one."""
    with partial_folder(output_dir) as folder:
        adapter = folder / "adapter"
        adapter.mkdir()
        save_adapter(model, trained.base_id, adapter)
        if len(trained.chosen.tasks) > 1:
            save_labels(column_labels(trained.chosen.tasks), adapter)
        write_card(trained, adapter / "README.md")
        write_record(trained, adapter / "training.json")
        if output_dir.exists():
            output_dir.rename(folder / "replaced")
        adapter.rename(output_dir)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
