"""Fine-tuning of one level from data files to an adapter directory with its card."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peft import PeftModel

from hazgate.cli.progress import step
from hazgate.documents.folders import partial_folder
from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.card import Trained, TrialOutcome, write_card, write_record
from hazgate_export.finetune.data import Split, TrainingRow, loss_weights, read_rows, select, split
from hazgate_export.finetune.evaluate import Figures, measure
from hazgate_export.finetune.model import new_adapter, save_adapter
from hazgate_export.finetune.train import Run, predict, repeatable, train
from hazgate_export.finetune_settings import Candidate, FinetuneSettings
from hazgate_export.model.tokenizer_files import reference_tokenizer

_POSITIVE_LABEL = "unsafe"


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneResult:
    """A written adapter and its figures.

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
    rows = read_rows(data_files, settings.data, labels)
    _check_names(settings, rows, labels)
    selection = select(rows, settings.data, seed=settings.seed)
    trial_split = split(selection.rows, settings.data, seed=settings.seed, hold_out=True)
    _check_parts(trial_split, labels, settings)
    task = _Task(
        settings=settings,
        level=level,
        labels=labels,
        base_id=base_id,
        base_dir=base_dir,
        work_dir=work_dir,
    )
    trials = tuple(task.trial(candidate, trial_split) for candidate in settings.candidates)
    chosen = max(trials, key=lambda trial: trial.score).candidate
    final_split = (
        split(selection.rows, settings.data, seed=settings.seed, hold_out=False)
        if settings.learn_held_out
        else trial_split
    )
    step(
        f"{level}: {chosen.epochs} epochs, class balance {chosen.class_balance}, "
        f"source balance {chosen.source_balance}"
    )
    model = task.train(chosen, final_split.train, "final run")
    validation = task.measure(model, final_split.validation)
    trained = Trained(
        level=level,
        labels=labels,
        base_id=base_id,
        settings=settings,
        data_files={file.name: _sha256(file) for file in data_files},
        selection=selection,
        trial_split=trial_split,
        final_split=final_split,
        trials=trials,
        chosen=chosen,
        validation=validation,
    )
    _write(output_dir, model, trained)
    held_out = next(trial.held_out for trial in trials if trial.candidate == chosen)
    return FinetuneResult(
        directory=output_dir, candidate=chosen, held_out=held_out, validation=validation
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """Inputs that all runs of a level share."""

    settings: FinetuneSettings
    level: str
    labels: tuple[str, ...]
    base_id: str
    base_dir: Path
    work_dir: Path

    def trial(self, candidate: Candidate, parts: Split) -> TrialOutcome:
        model = self.train(candidate, parts.train, "trial")
        return TrialOutcome(
            candidate=candidate,
            validation=self.measure(model, parts.validation),
            held_out=self.measure(model, parts.held_out) if parts.held_out else None,
        )

    def train(self, candidate: Candidate, rows: tuple[TrainingRow, ...], name: str) -> PeftModel:
        tokenizer = reference_tokenizer(self.base_dir, self.base_id)
        with repeatable(self.settings.seed):
            model = new_adapter(
                self.base_dir,
                self.base_id,
                self.labels,
                self.settings.lora,
                self.settings.frozen_layers,
            )
            train(
                model,
                tokenizer,
                Run(
                    name=f"{self.level} {name}",
                    rows=rows,
                    labels=self.labels,
                    candidate=candidate,
                    settings=self.settings,
                    checkpoint=self.work_dir / f"{self.level}-{self._digest(candidate, rows)}.pt",
                ),
            )
        return model

    def measure(self, model: PeftModel, rows: tuple[TrainingRow, ...]) -> Figures:
        tokenizer = reference_tokenizer(self.base_dir, self.base_id)
        scores = predict(model, tokenizer, [row.text for row in rows], self.settings)
        field = self.settings.data.label_field
        targets = [self.labels.index(label) for row in rows if (label := row.label(field))]
        return measure(
            rows,
            np.asarray(targets),
            scores.numpy(),
            self.labels,
            positive=self.labels.index(_POSITIVE_LABEL) if field == "level1" else None,
            max_false_positive_rate=self.settings.max_false_positive_rate,
        )

    def _digest(self, candidate: Candidate, rows: tuple[TrainingRow, ...]) -> str:
        """Digest everything that decides the weights, so that checkpoints are never mixed up."""
        # The interval of checkpoints and later measurements do not change the weights.
        settings = self.settings.model_dump(
            mode="json",
            exclude={
                "candidates",
                "checkpoint_steps",
                "data",
                "learn_held_out",
                "max_false_positive_rate",
            },
        )
        inputs = {
            "settings": settings,
            "weights": loss_weights(rows, self.settings.data, candidate),
            "candidate": candidate.model_dump(),
            "labels": self.labels,
            "base": [_sha256(file) for file in sorted(self.base_dir.glob("*.safetensors"))],
            "rows": [[row.text, row.label(self.settings.data.label_field)] for row in rows],
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _check_names(
    settings: FinetuneSettings, rows: Sequence[TrainingRow], labels: Sequence[str]
) -> None:
    rules = settings.data
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
    if unknown := set(rules.label_caps) - set(labels):
        problems.append(f"data.label_caps: no such label: {', '.join(sorted(unknown))}")
    if rules.label_field == "level1" and _POSITIVE_LABEL not in labels:
        problems.append(f"data.label_field: level1 needs the label {_POSITIVE_LABEL}")
    if problems:
        raise RecipeError("\n".join(problems))


def _check_parts(parts: Split, labels: Sequence[str], settings: FinetuneSettings) -> None:
    field = settings.data.label_field
    problems = []
    for name, rows in (("training", parts.train), ("validation", parts.validation)):
        found = {row.label(field) for row in rows}
        if missing := [label for label in labels if label not in found]:
            problems.append(f"no {name} row is labelled {', '.join(missing)}")
    if problems:
        raise DataError("; ".join(problems))


def _write(output_dir: Path, model: PeftModel, trained: Trained) -> None:
    """Write a complete adapter, then move it to `output_dir` in place of an older one."""
    with partial_folder(output_dir) as folder:
        adapter = folder / "adapter"
        adapter.mkdir()
        save_adapter(model, trained.base_id, adapter)
        write_card(trained, adapter / "README.md")
        write_record(trained, adapter / "training.json")
        if output_dir.exists():
            output_dir.rename(folder / "replaced")
        adapter.rename(output_dir)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
