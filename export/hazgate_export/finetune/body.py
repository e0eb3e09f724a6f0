"""The runs of one adapter: trained from its lessons, and measured."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from hazgate_export.finetune import text_tasks, token_tasks
from hazgate_export.finetune.data import Split
from hazgate_export.finetune.evaluate import Figures
from hazgate_export.finetune.model import new_adapter, start_head
from hazgate_export.finetune.outcome import TrialOutcome
from hazgate_export.finetune.predict import predict_logits
from hazgate_export.finetune.rows import TrainingRow
from hazgate_export.finetune.tasks import Lesson, Plan, Task, column_labels, merge, texts_of
from hazgate_export.finetune.train import Losses, Run, repeatable, train
from hazgate_export.finetune_settings import RunSettings
from hazgate_export.model.tokenizer_files import reference_tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """Inputs that all runs of an adapter share.

    Attributes:
        name: of the adapter, for the progress and the checkpoints.
        settings: of every run.
        base_id: the base's published name.
        base_dir: the base model.
        work_dir: receives checkpoints.
    """

    name: str
    settings: RunSettings
    base_id: str
    base_dir: Path
    work_dir: Path

    def trial(self, plan: Plan, splits: Sequence[Split]) -> TrialOutcome:
        """Train a plan and measure it on rows that its run has not seen."""
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
        """Train a plan from its checkpoint, if there is one."""
        tokenizer = reference_tokenizer(self.base_dir, self.base_id)
        lessons = merge(plan.tasks, [part.train for part in splits])
        with repeatable(self.settings.seed):
            model = new_adapter(
                self.base_dir,
                self.base_id,
                column_labels(plan.tasks),
                self.settings.lora,
                self.settings.frozen_layers,
                per_token=any(task.tags is not None for task in plan.tasks),
            )
            start_head(model, text_tasks.head_start(lessons))
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
                _losses(lessons, tokenizer, self.settings.max_tokens),
            )
        return model

    def measure(self, model: PeftModel, task: Task, rows: tuple[TrainingRow, ...]) -> Figures:
        """Return a task's figures on at least one row."""
        tokenizer = reference_tokenizer(self.base_dir, self.base_id)
        max_tokens = self.settings.max_tokens
        if task.tags is not None:
            return token_tasks.figures_of(task, rows, model, tokenizer, max_tokens)
        logits = predict_logits(model, tokenizer, [row.text for row in rows], max_tokens)
        return text_tasks.figures_of(task, rows, logits)

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
            "start": text_tasks.head_start(lessons).tolist(),
            "epochs": plan.epochs,
            "base": [sha256_of(file) for file in sorted(self.base_dir.glob("*.safetensors"))],
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
                | _tokens_digest(lesson)
                for lesson in lessons
            ],
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _losses(
    lessons: Sequence[Lesson], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> Losses:
    if all(lesson.task.tags is None for lesson in lessons):
        return text_tasks.TextLosses(lessons)
    (lesson,) = lessons  # a token level has a body to itself
    return token_tasks.TokenLosses(lesson, tokenizer, max_tokens)


def _tokens_digest(lesson: Lesson) -> dict[str, object]:
    """Return what decides the weights of a token level, beside what decides those of any."""
    if lesson.task.tags is None:
        return {}
    return {
        "tagged": lesson.task.tagged,
        "class_balance": lesson.task.settings.class_balance,
        "spans": [row and [dataclasses.astuple(span) for span in row.spans] for row in lesson.rows],
    }
