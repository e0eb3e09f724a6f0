"""A bundle of four levels, three of them on one body, that spot words.

"morning" is unsafe and a hazard; "world" is an injection; "good" has an e-mail address and a name.
The level `topic` stands on a body of its own.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

from tests.support.damage import edit_manifest, replace_file
from tests.support.graphs import spotting_graph
from tests.support.spotter import MORNING_HAZARD, OVERLAP, ROOM
from tests.support.tiny import HAZARDS
from tests.support.tokenizers import GOOD, MORNING, WORDS, WORLD, write_word_tokenizer

PII = ("email", "phone", "name")
TOPIC = ("chat", "code", "maths")
# The columns of one body; column 11 belongs to no level.
_FIRST = {"level1": 0, "level2": 2, "injection": 12, "pii": 14}
_WIDTH = 17
# Every hazard blocks, and so does an injection.
INJECTION_BLOCKS = b"""schema_version = 1
name = "panel"
mode = "strict"
[gate]
controversial = 0.5
unsafe = 0.5
[hazards]
default = { action = "block", threshold = 0.0 }
[levels.injection]
action = "block"
"""
_INJECTION = {"label": "injection", "threshold": 0.5, "threshold_source": "as trained"}


def write_panel(tiny_bundle: Path, folder: Path) -> Path:
    """Write the bundle; its one variant is int8, whose logits are exact."""
    bundle = Path(shutil.copytree(tiny_bundle, folder / "bundle"))
    words = write_word_tokenizer(folder / "tokenizer.json", knows_others=True)
    replace_file(bundle, "tokenizer.json", words.read_bytes())
    table = [_row() for _ in range(len(WORDS) + 1)]
    table[MORNING][0:2] = [9.0, 12.0]
    table[MORNING][_FIRST["level2"] + MORNING_HAZARD] = 9.0
    table[WORLD][_FIRST["injection"] : _FIRST["pii"]] = [9.0, 12.0]
    table[GOOD][_FIRST["pii"] : _WIDTH] = [2.0, -9.0, 1.0]
    replace_file(bundle, "body-int8.onnx", spotting_graph(table))
    topics = [[2.0, 0.0, 0.0] for _ in range(len(WORDS) + 1)]
    topics[WORLD] = [2.0, 0.0, 5.0]
    replace_file(bundle, "topic-int8.onnx", spotting_graph(topics))
    edit_manifest(bundle, _describe)
    return bundle


def _row() -> list[float]:
    row = [0.0] * _WIDTH
    row[0:2] = [9.0, -9.0]
    row[_FIRST["injection"] : _FIRST["pii"]] = [9.0, -9.0]
    row[_FIRST["pii"] :] = [-9.0] * len(PII)
    return row


def _describe(data: dict[str, Any]) -> None:
    level1, level2 = data["levels"]["level1"], data["levels"]["level2"]
    level1["tokenizer"].update(window_tokens=ROOM + 2, overlap_tokens=OVERLAP)
    int8 = level1["variants"]["int8"]

    def level(graph: str, labels: tuple[str, ...], **more: Any) -> dict[str, Any]:  # noqa: ANN401
        made = copy.deepcopy(level1)
        variant = {**copy.deepcopy(int8), "graph": graph, "data": []}
        return {**made, "labels": list(labels), "variants": {"int8": variant}, **more}

    levels = {
        "level1": ("safe", "unsafe"),
        "level2": HAZARDS,
        "injection": ("none", "injection"),
        "pii": PII,
    }
    data["levels"] = {
        name: level("body-int8.onnx", labels, columns={"first": _FIRST[name], "width": _WIDTH})
        for name, labels in levels.items()
    }
    data["levels"]["level2"]["activation"] = level2["activation"]
    data["levels"]["injection"]["positive"] = _INJECTION
    data["levels"]["pii"].update(activation="sigmoid", thresholds={"name": 0.7})
    data["levels"]["topic"] = level("topic-int8.onnx", TOPIC)
    data.update(schema_version=2, default_variant="int8", canaries=None, name="panel")
