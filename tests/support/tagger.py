"""Bundles with a token level that tags words, so a reader can predict every span.

"good" begins a name, "morning" is inside one, "world" is inside an address: it begins one, too.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

from tests.support.damage import edit_manifest, replace_file
from tests.support.graphs import tagging_graph
from tests.support.panel_bundle import write_panel
from tests.support.spotter import OVERLAP, ROOM
from tests.support.tokenizers import GOOD, MORNING, WORDS, WORLD, write_word_tokenizer

LEVEL = "entities"
LABELS = ("O", "B-NAME", "I-NAME", "B-ADDRESS", "I-ADDRESS")
TYPES = ("NAME", "ADDRESS")


def tag_table() -> list[list[float]]:
    """Return the logits of each word's tags: the sure ones 9, of "world" one that is less sure."""
    table = [[9.0, 0.0, 0.0, 0.0, 0.0] for _ in range(len(WORDS) + 1)]
    table[GOOD] = [0.0, 9.0, 0.0, 0.0, 0.0]
    table[MORNING] = [0.0, 0.0, 9.0, 0.0, 0.0]
    table[WORLD] = [0.0, 0.0, 0.0, 0.0, 1.0]
    return table


def write_tagger(tiny_bundle: Path, folder: Path) -> Path:
    """Write a bundle of the token level alone, in windows of six words that share two."""
    bundle = Path(shutil.copytree(tiny_bundle, folder / "tagger"))
    words = write_word_tokenizer(folder / "tagger-tokenizer.json", knows_others=True)
    replace_file(bundle, "tokenizer.json", words.read_bytes())
    replace_file(bundle, "entities-int8.onnx", tagging_graph(tag_table()))

    def describe(data: dict[str, Any]) -> None:
        data["levels"] = {LEVEL: _level(data["levels"]["level1"])}
        data.update(schema_version=3, default_variant="int8", canaries=None, name="tagger")
        del data["cascade"]

    edit_manifest(bundle, describe)
    return bundle


def write_tagged_panel(tiny_bundle: Path, folder: Path) -> Path:
    """Write the bundle of tests.support.panel_bundle, with the token level beside its others."""
    bundle = write_panel(tiny_bundle, folder)
    replace_file(bundle, "entities-int8.onnx", tagging_graph(tag_table()))

    def describe(data: dict[str, Any]) -> None:
        data["levels"][LEVEL] = _level(data["levels"]["topic"])
        data.update(schema_version=3, name="tagged-panel")

    edit_manifest(bundle, describe)
    return bundle


def _level(like: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(like)
    variant = {**made["variants"]["int8"], "graph": "entities-int8.onnx", "data": []}
    made.update(labels=list(LABELS), output="tokens", pooling="none", variants={"int8": variant})
    made["tokenizer"].update(window_tokens=ROOM + 2, overlap_tokens=OVERLAP)
    return made
