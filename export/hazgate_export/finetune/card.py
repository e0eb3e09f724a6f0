"""The adapter's card for people, and the record of its training for programs."""

import dataclasses
import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from hazgate_export.finetune.card_tables import figure_tables, table
from hazgate_export.finetune.data import Selection, Split, TrainingRow
from hazgate_export.finetune.evaluate import Figures
from hazgate_export.finetune_settings import Candidate, FinetuneSettings

# Where the held-out figures come from, by `learn_held_out`.
_ORIGIN = {
    True: "These figures are from a trial run with the same settings, which learned from none of "
    "these rows.\nThe adapter in this folder has learned from them, too.",
    False: "These figures are of the adapter in this folder, which learned from none of these "
    "rows.",
}
_TOOLS = ("torch", "transformers", "peft", "tokenizers", "scikit-learn")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialOutcome:
    """Figures of a candidate on rows that its run had not seen."""

    candidate: Candidate
    validation: Figures
    held_out: Figures | None

    @property
    def score(self) -> float:
        """Mean macro-F1, which decides between candidates."""
        if self.held_out is None:
            return self.validation.macro_f1
        return (self.validation.macro_f1 + self.held_out.macro_f1) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A finished training, as its card describes it. `data_files` maps file names to SHA-256."""

    level: str
    labels: tuple[str, ...]
    base_id: str
    settings: FinetuneSettings
    data_files: Mapping[str, str]
    selection: Selection
    trial_split: Split
    final_split: Split
    trials: tuple[TrialOutcome, ...]
    chosen: Candidate
    validation: Figures

    @property
    def held_out(self) -> Figures | None:
        """Held-out figures of the chosen candidate."""
        return next(trial.held_out for trial in self.trials if trial.candidate == self.chosen)


def write_record(trained: Trained, path: Path) -> None:
    """Write all settings, counts, figures and versions as JSON."""
    field = trained.settings.data.label_field
    record: dict[str, Any] = {
        "level": trained.level,
        "labels": trained.labels,
        "base": trained.base_id,
        "settings": trained.settings.model_dump(mode="json"),
        "chosen": trained.chosen.model_dump(mode="json"),
        "data_sha256": trained.data_files,
        "n_rows_dropped": trained.selection.n_dropped,
        "n_rows": {
            "trial": _sizes(trained.trial_split),
            "final": _sizes(trained.final_split),
        },
        "n_rows_trained": _counts(trained.final_split.train, field),
        "trials": [
            {
                "candidate": trial.candidate.model_dump(mode="json"),
                "validation": dataclasses.asdict(trial.validation),
                "held_out": dataclasses.asdict(trial.held_out) if trial.held_out else None,
            }
            for trial in trained.trials
        ],
        "final_validation": dataclasses.asdict(trained.validation),
        "versions": {"python": platform.python_version()}
        | {tool: version(tool) for tool in _TOOLS},
    }
    text = json.dumps(_rounded(record), indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def write_card(trained: Trained, path: Path) -> None:
    """Write the card as Markdown with the header that model hubs read."""
    sections = [
        _header(trained),
        _recipe(trained),
        _figures(trained),
        _data(trained),
        _limits(trained),
    ]
    path.write_text("\n".join(sections), encoding="utf-8")


def _header(trained: Trained) -> str:
    return f"""---
license: apache-2.0
base_model: {trained.base_id}
library_name: peft
pipeline_tag: text-classification
language: {json.dumps(list(trained.settings.data.languages))}
tags: ["lora", "safety", "moderation"]
---

# {trained.level}: a LoRA adapter for {trained.base_id}

Classifies a prompt as one of: {", ".join(trained.labels)}. Made by `hazgate-export finetune`;
`training.json` next to this card holds every setting, count and figure.
"""


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
        "loss": f"cross-entropy, class balance {trained.chosen.class_balance}, source balance "
        f"{trained.chosen.source_balance}, label smoothing {settings.label_smoothing}",
        "weights": f"running average, decay {settings.average_decay}"
        if settings.average_decay
        else "of the last step",
        "input": f"first {settings.max_tokens} tokens"
        + (", form changed at random" if settings.noise else ""),
        "seed, arithmetic": f"{settings.seed}, {settings.precision}",
    }
    tried = ""
    if len(settings.candidates) > 1:
        choices = ", ".join(
            f"{c.epochs} epochs/{c.class_balance}/{c.source_balance}" for c in settings.candidates
        )
        tried = (
            f"\nTried: {choices}; chosen by the mean macro-F1 over validation and held-out rows.\n"
        )
    return f"""## Recipe

{table(("", ""), facts.items())}
{tried}"""


def _figures(trained: Trained) -> str:
    held_out = trained.held_out
    text = "## Figures\n"
    if held_out is not None:
        origin = _ORIGIN[trained.settings.learn_held_out]
        text += f"""
### On unseen sources

{origin} They are the best estimate here for other
people's texts, and a little too kind: some settings were chosen on these sources.

{figure_tables(held_out)}"""
    return f"""{text}
### On other items of the same sources

Figures of this adapter on {trained.settings.data.validation_share:.0%} of the groups, from which
no run learned. They are easier than real traffic.

{figure_tables(trained.validation)}"""


def _data(trained: Trained) -> str:
    field = trained.settings.data.label_field
    rows = trained.final_split.train
    licenses = {row.source: row.license for row in rows}
    by_source = Counter(row.source for row in rows)
    sources = ((name, licenses[name], str(n)) for name, n in sorted(by_source.items()))
    by_label = Counter(row.label(field) for row in rows)
    labels = ((label, str(by_label[label])) for label in trained.labels)
    dropped = ((rule, str(n)) for rule, n in trained.selection.n_dropped.items())
    held_out = sorted({row.source for row in trained.trial_split.held_out})
    return f"""## Data

{len(rows)} texts. The texts themselves are not part of this project.

{table(("source", "licence", "rows"), sources)}

{table(("class", "rows"), labels)}

Left out: {"; ".join(f"{rule} {n}" for rule, n in dropped)}.
Held out in the trial: {", ".join(held_out) or "nothing"}.
"""


def _limits(trained: Trained) -> str:
    languages = ", ".join(trained.settings.data.languages)
    level_limit = (
        "Flags texts that its sources call unsafe. It can flag a harmless question with a "
        "dangerous word, and miss a harmful wish in harmless words."
        if trained.settings.data.label_field == "level1"
        else "Always names one of its hazards, even for a harmless text: ask it only about texts "
        "that Level 1 has flagged. Classes with few rows are the weakest."
    )
    return f"""## Limits

- {level_limit}
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


def _counts(
    rows: Iterable[TrainingRow], field: Literal["level1", "level2"]
) -> dict[str, dict[str, int]]:
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
