"""The adapter's card for people."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hazgate_export.finetune.card_tables import figure_tables, table
from hazgate_export.finetune.outcome import LevelOutcome, Trained, parts_of, texts_trained
from hazgate_export.finetune.rows import NO_LABEL
from hazgate_export.finetune.tasks import Task
from hazgate_export.finetune_settings import FinetuneSettings, SharedSettings

# Where the held-out figures come from, by `learn_held_out`.
_ORIGIN = {
    True: "These figures are from a trial run with the same settings, which learned from none of "
    "these rows.\nThe adapter in this folder has learned from them, too.",
    False: "These figures are of the adapter in this folder, which learned from none of these "
    "rows.",
}
_CHOICE = "the mean macro-F1 over validation and held-out rows"


def write_card(trained: Trained, path: Path) -> None:
    """Write the card as Markdown with the header that model hubs read."""
    parts = parts_of(trained)
    sections = [
        _header(trained, parts),
        _recipe(trained),
        *(_figures(trained, part, _of_level(trained, part)) for part in parts),
        *(_data(part, _of_level(trained, part)) for part in parts),
        *_notes(parts),
        _limits(parts),
    ]
    path.write_text("\n".join(sections), encoding="utf-8")


def _of_level(trained: Trained, part: LevelOutcome) -> str:
    """Return the end of a heading, which names the level if there are several."""
    return f": {part.task.level}" if len(trained.chosen.tasks) > 1 else ""


def _header(trained: Trained, parts: Sequence[LevelOutcome]) -> str:
    languages = sorted({one for part in parts for one in part.task.settings.data.languages})
    if len(parts) == 1:
        languages = list(parts[0].task.settings.data.languages)
        what = _answers(parts[0].task)
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
pipeline_tag: {"token" if _finds_spans(parts[0].task) else "text"}-classification
language: {json.dumps(languages)}
tags: ["lora", "safety", "{"pii" if _finds_spans(parts[0].task) else "moderation"}"]
---

# {trained.name}: a LoRA adapter for {trained.base_id}

{what}{"" if what.endswith(chr(10)) else " "}Made by `hazgate-export finetune`;
`training.json` next to this card holds every setting, count and figure.
"""


def _finds_spans(task: Task) -> bool:
    return task.tags is not None


def _answers(task: Task) -> str:
    if task.tags is None:
        return f"Classifies a prompt as one of: {', '.join(task.labels)}."
    tagged = "Every token" if task.tagged == "tokens" else "The first token of each word"
    return (
        f"Finds spans of characters in a text: {', '.join(task.tags.types)}. {tagged} has one of "
        f"{len(task.labels)} tags."
    )


def _loss(task: Task) -> str:
    kind = "cross-entropy" if task.activation == "softmax" else "binary cross-entropy, summed"
    if task.tags is not None:
        kind += " of tokens"
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


def _figures(trained: Trained, part: LevelOutcome, of_level: str) -> str:
    task = part.task
    positive = task.positive or ""
    others = ", ".join(label for label in task.row_labels if label != positive)
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


def _data(part: LevelOutcome, of_level: str) -> str:
    field = part.task.field
    rows = part.final_split.train
    licenses = {row.source: row.license for row in rows}
    by_source = Counter(row.source for row in rows)
    sources = ((name, licenses[name], str(n)) for name, n in sorted(by_source.items()))
    by_label = Counter(label for row in rows for label in row.labels(field) or (NO_LABEL,))
    names = (*part.task.row_labels, NO_LABEL) if part.task.several else part.task.row_labels
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


def _notes(parts: Sequence[LevelOutcome]) -> list[str]:
    """Say how rows were made, where the recipe does."""
    sources = {row.source for part in parts for row in part.final_split.train}
    notes = {
        defaults.source: defaults.note
        for part in parts
        for defaults in part.task.settings.data.file_defaults.values()
        if defaults.note and defaults.source in sources
    }
    together = (
        f"{len(texts_trained(parts))} different texts: many serve several levels. A text that one "
        "level holds out\nteaches no other level, either.\n"
    )
    listed = "\n".join(f"- {source}: {note}" for source, note in sorted(notes.items()))
    body = "\n".join([together * (len(parts) > 1), listed]).strip()
    return [f"## Notes on the data\n\n{body}\n"] if body else []


def _level_limit(task: Task) -> str:
    if task.tags is not None:
        return (
            f"{task.level} knows the forms and wordings of its sources; another one can pass it, "
            "and a span can end too early or too late."
        )
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


def _limits(parts: Sequence[LevelOutcome]) -> str:
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
