"""Fine-tuning of levels from data files to an adapter directory with its card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from hazgate.cli.progress import step
from hazgate.documents.folders import partial_folder
from hazgate.judging.tags import Tags
from hazgate_export.finetune.body import Body, sha256_of
from hazgate_export.finetune.card import write_card
from hazgate_export.finetune.evaluate import Figures
from hazgate_export.finetune.model import save_adapter, save_labels
from hazgate_export.finetune.outcome import Trained
from hazgate_export.finetune.record import write_record
from hazgate_export.finetune.task_rows import check_parts, select_rows
from hazgate_export.finetune.tasks import (
    POSITIVE_LABEL,
    Plan,
    Tagged,
    Task,
    column_labels,
    split_together,
)
from hazgate_export.finetune_settings import (
    Candidate,
    FinetuneSettings,
    SharedSettings,
    TaskSettings,
)


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
    tags: Tags | None = None,
    tagged: Tagged = "tokens",
    base_id: str,
    base_dir: Path,
    data_files: Sequence[Path],
    output_dir: Path,
    work_dir: Path,
    other_fields: Sequence[str] = (),
) -> FinetuneResult:
    """Train a level's adapter and write it with its card; continue an interrupted run.

    Each candidate is tried without the held-out rows. The one with the best mean of macro-F1 on
    validation and held-out rows is trained again, held-out rows included, and written; without
    `learn_held_out` it is written as it is.

    Args:
        settings: the recipe's table.
        level: the level's name, for the card and the checkpoints.
        labels: the head's labels in the order of the logits.
        tags: what they mean at a token level; None where they are of a text.
        tagged: the tokens that learn a tag, at a token level.
        base_id: the base's published name, which the adapter refers to.
        base_dir: the base model.
        data_files: JSON lines; see the README of the exporter for the fields.
        output_dir: becomes the adapter; an older one is replaced as a whole, or left as it is.
        work_dir: receives checkpoints, named by a digest of everything that decides the run.
        other_fields: fields of labels that rows may have for other levels.

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
                    tags=tags,
                    tagged=tagged,
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
    body = Body(
        name=level, settings=settings, base_id=base_id, base_dir=base_dir, work_dir=work_dir
    )
    trained = _finetune(body, plans, data_files, output_dir, other_fields)
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
    other_fields: Sequence[str] = (),
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
        other_fields: see finetune_level.

    Raises:
        DataError: rows are malformed, or a part of a level's split lacks a label.
        RecipeError: the settings name unknown sources, labels or modules.
        SourceError: the base cannot be loaded.
    """
    plans = tuple(Plan(epochs=epochs, tasks=tuple(tasks)) for epochs in settings.epochs)
    body = Body(name=name, settings=settings, base_id=base_id, base_dir=base_dir, work_dir=work_dir)
    trained = _finetune(body, plans, data_files, output_dir, other_fields)
    return SharedResult(
        directory=output_dir,
        epochs=trained.chosen.epochs,
        held_out=trained.held_out,
        validation=trained.validation,
    )


def _finetune(
    body: Body,
    plans: Sequence[Plan],
    data_files: Sequence[Path],
    output_dir: Path,
    other_fields: Sequence[str],
) -> Trained:
    """Try each plan, train the best one finally, and write its adapter."""
    settings = body.settings
    tasks = plans[0].tasks  # the same rows in every plan
    selections = select_rows(tasks, data_files, settings.seed, other_fields)
    trial_splits = split_together(tasks, selections, seed=settings.seed, hold_out=True)
    check_parts(tasks, trial_splits)
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
        data_files={file.name: sha256_of(file) for file in data_files},
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


def _write(output_dir: Path, model: PeftModel, trained: Trained) -> None:
    """Write a complete adapter, then move it to `output_dir` in place of an older one."""
    with partial_folder(output_dir) as folder:
        adapter = folder / "adapter"
        adapter.mkdir()
        save_adapter(model, trained.base_id, adapter)
        tasks = trained.chosen.tasks
        if len(tasks) > 1 or tasks[0].tags is not None:
            save_labels(column_labels(tasks), adapter)
        write_card(trained, adapter / "README.md")
        write_record(trained, adapter / "training.json")
        if output_dir.exists():
            output_dir.rename(folder / "replaced")
        adapter.rename(output_dir)
