"""A tiny recipe whose fused variant texts may leave early, and texts to prove it on."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.support.recipes import FUSED_VARIANT
from tests.support.tiny import write_quick_recipe

EARLY = "cpu-early"
TEXTS = "exit-texts.jsonl"
_WORDS = (
    "kill",
    "python",
    "process",
    "summer",
    "bread",
    "bank",
    "rivers",
    "rockets",
    "song",
    "sail",
)


def write_texts(file: Path, *, n: int = 600, seed: int = 1) -> None:
    """Write texts of random words, in groups of two."""
    random = np.random.default_rng(seed)
    rows = (
        {
            "text": " ".join(random.choice(_WORDS, size=random.integers(1, 12))),
            "group": f"g{i // 2}",
        }
        for i in range(n)
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def exits_table(**changes: object) -> str:
    """Return the table of a variant with exits after the first of the tiny model's two layers."""
    fields: Mapping[str, object] = {
        "after_layers": [1],
        "max_missed_share": 0.1,
        "confidence": 0.95,
        "thresholds": [0.6, 0.65],
        "files": [TEXTS],
        **changes,
    }
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
    own = FUSED_VARIANT.replace("cpu-fused", EARLY).rstrip("\n")
    return f"{FUSED_VARIANT}{own}\nexits = {{ {table} }}\n\n"


def write_exit_recipe(tiny_recipe: Path, folder: Path, **changes: object) -> Path:
    """Write a recipe of Level 1 alone with exits, and texts beside it; return the recipe."""
    write_texts(folder / TEXTS)
    return write_quick_recipe(
        tiny_recipe, folder / "exits.toml", more_variants=exits_table(**changes)
    )
