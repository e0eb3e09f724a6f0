"""The record of a training for programs: all settings, counts, figures and versions."""

import dataclasses
import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hazgate_export.finetune.data import Split
from hazgate_export.finetune.outcome import LevelOutcome, Trained, parts_of, texts_trained
from hazgate_export.finetune.rows import TrainingRow
from hazgate_export.finetune.tasks import Plan, Task
from hazgate_export.finetune_settings import Candidate, FinetuneSettings

_TOOLS = ("torch", "transformers", "peft", "tokenizers", "scikit-learn")


def write_record(trained: Trained, path: Path) -> None:
    """Write all settings, counts, figures and versions as JSON."""
    parts = parts_of(trained)
    head: dict[str, Any] = {
        "base": trained.base_id,
        "settings": trained.settings.model_dump(mode="json"),
        "data_sha256": trained.data_files,
    }
    versions = {"python": platform.python_version()} | {tool: version(tool) for tool in _TOOLS}
    if isinstance(trained.settings, FinetuneSettings):
        (part,) = parts
        record = (
            {"level": part.task.level, "labels": part.task.labels}
            | head
            | {"chosen": _candidate(trained.chosen, part.task.level)}
            | _level_record(trained, part)
        )
    else:
        record = head | {
            "chosen": {"epochs": trained.chosen.epochs},
            "n_texts_trained": len(texts_trained(parts)),
            "levels": {
                part.task.level: _task_record(part.task) | _level_record(trained, part)
                for part in parts
            },
        }
    text = json.dumps(_rounded(record | {"versions": versions}), indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _task_record(task: Task) -> dict[str, Any]:
    return {
        "labels": task.labels,
        "columns": [task.columns.start, task.columns.stop],
        "activation": task.activation,
        "thresholds": task.thresholds or None,
        "task": task.settings.model_dump(mode="json"),
    }


def _level_record(trained: Trained, part: LevelOutcome) -> dict[str, Any]:
    level, field = part.task.level, part.task.field
    return {
        "n_rows_dropped": part.selection.n_dropped,
        "n_rows": {"trial": _sizes(part.trial_split), "final": _sizes(part.final_split)},
        "n_rows_trained": _counts(part.final_split.train, field),
        "trials": [
            {
                "candidate": _candidate(trial.plan, level),
                "validation": dataclasses.asdict(trial.validation[level]),
                "held_out": dataclasses.asdict(held_out)
                if (held_out := trial.held_out[level])
                else None,
            }
            for trial in trained.trials
        ],
        "final_validation": dataclasses.asdict(part.validation),
    }


def _candidate(plan: Plan, level: str) -> dict[str, Any]:
    settings = next(task.settings for task in plan.tasks if task.level == level)
    return Candidate(
        epochs=plan.epochs,
        class_balance=settings.class_balance,
        source_balance=settings.source_balance,
    ).model_dump(mode="json")


def _sizes(parts: Split) -> dict[str, int]:
    return {
        "train": len(parts.train),
        "validation": len(parts.validation),
        "held_out": len(parts.held_out),
    }


def _counts(rows: Iterable[TrainingRow], field: str) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.source, Counter())[str(row.label(field))] += 1
    return {source: dict(sorted(counts[source].items())) for source in sorted(counts)}


def _rounded(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Round floats to six digits: further ones are noise of this machine."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
