"""Rows, rules and a tiny base for tests of fine-tuning."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import BertConfig

from hazgate_export.finetune.rows import TrainingRow, TrainingSpan
from hazgate_export.finetune.tasks import Task
from hazgate_export.finetune_settings import DataRules, TaskSettings
from hazgate_export.model.standin import write_standin
from hazgate_export.proof.texts import load_proof_texts

BASE_ID = "test/tiny"
LABELS = ("safe", "unsafe")
PANEL = Path(__file__).parents[2] / "export" / "recipes" / "panel.toml"
# The labels of a multi-label level beside Level 1.
KINDS = ("violence", "theft", "hate")
RULES = DataRules(label_field="level1", languages=("en",), validation_share=0.2)
KINDS_RULES = RULES.model_copy(update={"label_field": "level2_all"})
ROW = TrainingRow(
    text="a harmless text",
    level1="safe",
    level2=None,
    level1_ok=True,
    group="g",
    source="ours",
    license="Apache-2.0",
    lang="en",
    quality="gold",
)


def line(**changes: object) -> str:
    """Return a row as a line of JSON."""
    values: dict[str, object] = {
        "text": "a harmless text",
        "level1": "safe",
        "level2": None,
        "level1_ok": True,
        "group": "g1",
        "source": "ours",
        "license": "Apache-2.0",
        "lang": "en",
        "quality": "gold",
    }
    return json.dumps(values | changes)


def write_tiny_base(folder: Path) -> Path:
    """Write a tiny BERT that adapters can be trained on; return its folder."""
    config = BertConfig(
        vocab_size=6400,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    return write_standin(
        folder,
        config,
        texts=[text.text for text in load_proof_texts()],
        base_id=BASE_ID,
        levels={"level1": LABELS},
        lora_targets=("query",),
        lora_rank=4,
    ).base


def task(name: str = "level1", **changes: Any) -> Task:  # noqa: ANN401 - fields of a task
    """Return Level 1 as a task."""
    fields: dict[str, Any] = {
        "level": name,
        "labels": ("safe", "unsafe"),
        "settings": TaskSettings(data=RULES),
    }
    return Task(**fields | changes)


def hazards(first: int = 2, **settings: Any) -> Task:  # noqa: ANN401 - fields of a task
    """Return a multi-label level beside Level 1 as a task."""
    return task(
        "level2",
        labels=KINDS,
        first=first,
        activation="sigmoid",
        thresholds=(0.5, 0.5, 0.5),
        settings=TaskSettings(data=KINDS_RULES, **settings),
    )


def labelled(text: str, held: Sequence[str] | None = None, **changes: Any) -> TrainingRow:  # noqa: ANN401 - fields of a row, a task
    """Return a row with the kinds that it holds; None for a row without such a label."""
    further = {} if held is None else {"level2_all": tuple(held)}
    return replace(ROW, text=text, group=text, further=further, **changes)


def spans_row(text: str, *spans: tuple[str, int, int]) -> TrainingRow:
    """Return a row with marked spans, each a label with its first character and its end."""
    marked = tuple(TrainingSpan(label=label, start=start, end=end) for label, start, end in spans)
    labels = tuple(dict.fromkeys(span.label for span in marked))
    return replace(ROW, text=text, group=text, further={"spans": labels}, spans=marked)
