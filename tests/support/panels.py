"""A tiny body with several levels: a cascade, a softmax level and a multi-label one beside it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from tests.support.adapters import edit_json
from tests.support.recipes import recipe_text
from tests.support.tiny import write_tiny_standin

BASE_ID = "test/panel-base"
ADAPTER = "panel"
MAX_TOKENS = 64
LABELS: Mapping[str, tuple[str, ...]] = {
    "level1": ("safe", "unsafe"),
    "level2": ("violence", "weapons", "privacy"),
    "injection": ("none", "injection"),
    "pii": ("email", "phone", "name"),
}
# From the first column up to the one before the second.
COLUMNS: Mapping[str, tuple[int, int]] = {
    "level1": (0, 2),
    "level2": (2, 5),
    "injection": (5, 7),
    "pii": (7, 10),
}
OUTPUTS = tuple(label for labels in LABELS.values() for label in labels)
_MORE = {
    "level2": 'activation = "sigmoid"\n',
    "injection": 'positive = { label = "injection", threshold = 0.4, threshold_source = "test" }\n',
    "pii": 'activation = "sigmoid"\nthresholds = { email = 0.7 }\n',
}


# Random weights need wide limits; the graph must still be one that the provider takes.
_FP16 = """[variants.fp16]
graph = "portable"
precision = "fp16"
preflight = ["migraphx@1.23.2"]
parity = { max_abs_logit_diff = 0.5, max_changed_share = 0.2, max_invariance_diff = 0.5 }

"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """The folders of a body's base and weights, and the recipe that builds it."""

    base: Path
    weights: Path
    recipe: Path


def write_panel(folder: Path) -> Panel:
    """Write the base, one LoRA adapter with a wide head, and the recipe of its levels."""
    standin = write_tiny_standin(folder, base_id=BASE_ID, levels={ADAPTER: OUTPUTS}, seed=3)
    recipe = folder / "panel.toml"
    recipe.write_text(_recipe(), encoding="utf-8")
    return Panel(base=standin.base, weights=standin.adapters[ADAPTER], recipe=recipe)


def write_checkpoint_panel(panel: Panel, folder: Path) -> Panel:
    """Write a whole checkpoint with a wide head, whose file names its outputs, and its recipe."""
    torch.manual_seed(5)
    model = AutoModelForSequenceClassification.from_pretrained(panel.base, num_labels=len(OUTPUTS))
    weights = folder / "whole"
    model.save_pretrained(weights)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(panel.base / file, weights / file)
    edit_json(weights / "config.json", id2label=dict(enumerate(OUTPUTS)), label2id=None)
    text = _recipe().replace('source = { directory = "base" }\n', "")
    text = text.replace("adapter_id =", "checkpoint_id =").replace("adapter =", "checkpoint =")
    recipe = folder / "recipe.toml"
    recipe.write_text(text.replace(f'"{ADAPTER}" }}', '"whole" }'), encoding="utf-8")
    return Panel(base=panel.base, weights=weights, recipe=recipe)


def only_variant(text: str, name: str) -> str:
    """Return a recipe's text with no other variant than `name`."""
    start, end = text.index("[variants."), text.index("[parity]")
    tables = text[start:end].split("[variants.")
    (kept,) = (table for table in tables if table.startswith(f"{name}]"))
    text = f"{text[:start]}[variants.{kept}{text[end:]}"
    return text.replace('default_variant = "fp32"', f'default_variant = "{name}"')


def _recipe() -> str:
    text = recipe_text(
        name="panel",
        base_id=BASE_ID,
        family="bert",
        pooling="cls",
        levels=LABELS,
        max_tokens=MAX_TOKENS,
        default_variant="fp32",
        int8_scheme="dynamic",
        lengths=(1, 2, 3, 8, 31),
        authored=True,
    )
    for level, (first, end) in COLUMNS.items():
        head = f"[levels.{level}]\n"
        columns = f"columns = [{first}, {end}]\n"
        text = text.replace(head, head + columns + _MORE.get(level, ""))
        text = text.replace(f'"{BASE_ID}-{level}"', f'"{BASE_ID}-{ADAPTER}"')
        text = text.replace(f'{{ directory = "{level}" }}', f'{{ directory = "{ADAPTER}" }}')
    return text.replace("[parity]\n", f"{_FP16}[parity]\n")
