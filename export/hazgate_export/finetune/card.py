"""The adapter's card for people, and the record of its training for programs."""

import dataclasses
import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from hazgate_export.finetune.card_tables import figure_tables, table
from hazgate_export.finetune.data import NO_LABEL, Selection, Split, TrainingRow
from hazgate_export.finetune.evaluate import Figures
from hazgate_export.finetune.tasks import Plan, Task
from hazgate_export.finetune_settings import (
    Candidate,
    FinetuneSettings,
    RunSettings,
    SharedSettings,
)

# Where the held-out figures come from, by `learn_held_out`.
_ORIGIN = {
    True: "These figures are from a trial run with the same settings, which learned from none of "
    "these rows.\nThe adapter in this folder has learned from them, too.",
    False: "These figures are of the adapter in this folder, which learned from none of these "
    "rows.",
}
_CHOICE = "the mean macro-F1 over validation and held-out rows"
_TOOLS = ("torch", "transformers", "peft", "tokenizers", "scikit-learn")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialOutcome:
    """Figures of a plan on rows that its run had not seen, by level."""

    plan: Plan
    validation: Mapping[str, Figures]
    held_out: Mapping[str, Figures | None]

    @property
    def score(self) -> float:
        """Mean macro-F1 over the levels and both sets, which decides between plans."""
        return fmean(
            fmean(figures.macro_f1 for figures in (validation, self.held_out[level]) if figures)
            for level, validation in self.validation.items()
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A finished training, as its card describes it.

    `data_files` maps file names to SHA-256. Selections and splits are in the tasks' order; figures
    are by level.
    """

    name: str
    base_id: str
    settings: RunSettings
    data_files: Mapping[str, str]
    selections: tuple[Selection, ...]
    trial_splits: tuple[Split, ...]
    final_splits: tuple[Split, ...]
    trials: tuple[TrialOutcome, ...]
    chosen: Plan
    validation: Mapping[str, Figures]

    @property
    def held_out(self) -> Mapping[str, Figures | None]:
        """Held-out figures of the chosen plan."""
        return next(trial.held_out for trial in self.trials if trial.plan == self.chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One level of a training."""

    task: Task
    selection: Selection
    trial_split: Split
    final_split: Split
    validation: Figures
    held_out: Figures | None


def _parts(trained: Trained) -> list[_Part]:
    return [
        _Part(
            task=task,
            selection=selection,
            trial_split=trial_split,
            final_split=final_split,
            validation=trained.validation[task.level],
            held_out=trained.held_out[task.level],
        )
        for task, selection, trial_split, final_split in zip(
            trained.chosen.tasks,
            trained.selections,
            trained.trial_splits,
            trained.final_splits,
            strict=True,
        )
    ]


def write_record(trained: Trained, path: Path) -> None:
    """Write all settings, counts, figures and versions as JSON."""
    parts = _parts(trained)
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
            "n_texts_trained": len(_texts(parts)),
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


def _level_record(trained: Trained, part: _Part) -> dict[str, Any]:
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


def write_card(trained: Trained, path: Path) -> None:
    """Write the card as Markdown with the header that model hubs read."""
    parts = _parts(trained)
    sections = [
        _header(trained, parts),
        _recipe(trained),
        *(_figures(trained, part, _of_level(trained, part)) for part in parts),
        *(_data(part, _of_level(trained, part)) for part in parts),
        *_notes(parts),
        _limits(parts),
    ]
    path.write_text("\n".join(sections), encoding="utf-8")


def _of_level(trained: Trained, part: _Part) -> str:
    """Return the end of a heading, which names the level if there are several."""
    return f": {part.task.level}" if len(trained.chosen.tasks) > 1 else ""


def _header(trained: Trained, parts: Sequence[_Part]) -> str:
    languages = sorted({one for part in parts for one in part.task.settings.data.languages})
    if len(parts) == 1:
        languages = list(parts[0].task.settings.data.languages)
        what = f"Classifies a prompt as one of: {', '.join(parts[0].task.labels)}."
    else:
        rows = (
            (
                part.task.level,
                f"{part.task.columns.start} to {part.task.columns.stop - 1}",
                "any of" if part.task.activation == "sigmoid" else "one of",
                ", ".join(part.task.labels),
            )
            for part in parts
        )
        what = (
            f"Answers {len(parts)} questions about a text in one pass: the classifier has the "
            f"columns of all.\n\n{table(('level', 'columns', 'holds', 'labels'), rows)}\n\n"
        )
    return f"""---
license: apache-2.0
base_model: {trained.base_id}
library_name: peft
pipeline_tag: text-classification
language: {json.dumps(languages)}
tags: ["lora", "safety", "moderation"]
---

# {trained.name}: a LoRA adapter for {trained.base_id}

{what}{"" if what.endswith(chr(10)) else " "}Made by `hazgate-export finetune`;
`training.json` next to this card holds every setting, count and figure.
"""


def _loss(task: Task) -> str:
    kind = "cross-entropy" if task.activation == "softmax" else "binary cross-entropy, summed"
    settings = task.settings
    return (
        f"{kind}, class balance {settings.class_balance}, source balance "
        f"{settings.source_balance}, label smoothing {settings.label_smoothing}"
    )


def _recipe(trained: Trained) -> str:
    settings, lora = trained.settings, trained.settings.lora
    facts = {
        "LoRA": f"r {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout} on "
        f"{', '.join(lora.target_modules)}; trained in full: {', '.join(lora.modules_to_save)}",
        "layers": f"the lowest {settings.frozen_layers} keep the base's weights"
        if settings.frozen_layers
        else "all",
        "optimizer": f"AdamW, learning rate {settings.learning_rate}, weight decay "
        f"{settings.weight_decay}, gradient norm at most {settings.max_gradient_norm}",
        "schedule": f"linear warm-up over {settings.warmup_ratio:.0%} of the steps, then linear "
        f"to 0; {trained.chosen.epochs} epochs, batch {settings.batch_size}",
    }
    for task in trained.chosen.tasks:
        if len(trained.chosen.tasks) > 1:
            weight = f"; weight {task.settings.loss_weight} beside the other levels'"
            facts[f"loss of {task.level}"] = _loss(task) + weight
        else:
            facts["loss"] = _loss(task)
    facts |= {
        "weights": f"running average, decay {settings.average_decay}"
        if settings.average_decay
        else "of the last step",
        "input": f"first {settings.max_tokens} tokens"
        + (", form changed at random" if settings.noise else ""),
        "seed, arithmetic": f"{settings.seed}, {settings.precision}",
    }
    tried = ""
    if isinstance(settings, FinetuneSettings) and len(settings.candidates) > 1:
        choices = ", ".join(
            f"{c.epochs} epochs/{c.class_balance}/{c.source_balance}" for c in settings.candidates
        )
        tried = f"\nTried: {choices}; chosen by {_CHOICE}.\n"
    if isinstance(settings, SharedSettings) and len(settings.epochs) > 1:
        choices = ", ".join(map(str, settings.epochs))
        tried = f"\nTried: {choices} epochs; chosen by {_CHOICE} of all levels.\n"
    return f"""## Recipe

{table(("", ""), facts.items())}
{tried}"""


def _figures(trained: Trained, part: _Part, of_level: str) -> str:
    task = part.task
    positive = task.positive or ""
    others = ", ".join(label for label in task.labels if label != positive)
    text = f"## Figures{of_level}\n"
    if task.activation == "sigmoid":
        stated = ", ".join(
            f"{label} {threshold:.2f}"
            for label, threshold in zip(task.labels, task.thresholds, strict=True)
        )
        text += f"\nA label holds from the recipe's threshold: {stated}.\n"
    if part.held_out is not None:
        origin = _ORIGIN[trained.settings.learn_held_out]
        text += f"""
### On unseen sources{of_level}

{origin} They are the best estimate here for other
people's texts, and a little too kind: some settings were chosen on these sources.

{figure_tables(part.held_out, positive, others)}"""
    return f"""{text}
### On other items of the same sources{of_level}

Figures of this adapter on {task.settings.data.validation_share:.0%} of the groups, from which
no run learned. They are easier than real traffic.

{figure_tables(part.validation, positive, others)}"""


def _data(part: _Part, of_level: str) -> str:
    field = part.task.field
    rows = part.final_split.train
    licenses = {row.source: row.license for row in rows}
    by_source = Counter(row.source for row in rows)
    sources = ((name, licenses[name], str(n)) for name, n in sorted(by_source.items()))
    by_label = Counter(label for row in rows for label in row.labels(field) or (NO_LABEL,))
    several = part.task.activation == "sigmoid"
    names = (*part.task.labels, NO_LABEL) if several else part.task.labels
    labels = ((label, str(by_label[label])) for label in names)
    dropped = ((rule, str(n)) for rule, n in part.selection.n_dropped.items())
    held_out = sorted({row.source for row in part.trial_split.held_out})
    return f"""## Data{of_level}

{len(rows)} texts. The texts themselves are not part of this project.

{table(("source", "licence", "rows"), sources)}

{table(("class", "rows"), labels)}

Left out: {"; ".join(f"{rule} {n}" for rule, n in dropped)}.
Held out in the trial: {", ".join(held_out) or "nothing"}.
"""


def _notes(parts: Sequence[_Part]) -> list[str]:
    """Say how rows were made, where the recipe does."""
    sources = {row.source for part in parts for row in part.final_split.train}
    notes = {
        defaults.source: defaults.note
        for part in parts
        for defaults in part.task.settings.data.file_defaults.values()
        if defaults.note and defaults.source in sources
    }
    together = (
        f"{len(_texts(parts))} different texts: many serve several levels. A text that one level "
        "holds out\nteaches no other level, either.\n"
    )
    listed = "\n".join(f"- {source}: {note}" for source, note in sorted(notes.items()))
    body = "\n".join([together * (len(parts) > 1), listed]).strip()
    return [f"## Notes on the data\n\n{body}\n"] if body else []


def _texts(parts: Sequence[_Part]) -> set[str]:
    return {row.text for part in parts for row in part.final_split.train}


def _level_limit(task: Task) -> str:
    if task.field == "level1":
        return (
            "Flags texts that its sources call unsafe. It can flag a harmless question with a "
            "dangerous word, and miss a harmful wish in harmless words."
        )
    if task.activation == "sigmoid":
        return (
            f"{task.level} names each of its labels from a threshold of its own, or none; labels "
            "with few rows are the weakest."
        )
    if task.field == "level2":
        return (
            "Always names one of its hazards, even for a harmless text: ask it only about texts "
            "that Level 1 has flagged. Classes with few rows are the weakest."
        )
    return f"{task.level} knows the wordings of its sources; another wording can pass it."


def _limits(parts: Sequence[_Part]) -> str:
    languages = ", ".join(
        dict.fromkeys(one for part in parts for one in part.task.settings.data.languages)
    )
    limits = "\n".join(f"- {_level_limit(part.task)}" for part in parts)
    return f"""## Limits

{limits}
- Language: {languages}. Text in other languages is not classified reliably.
- Made for prompts of a few sentences. It does not read beyond the token limit.
- Not robust against people who try to get past it.
- Labels follow the sources' own policies, which differ. Some were made by models, some are
  assumed.
"""


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
