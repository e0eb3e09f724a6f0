"""Bundles of one level that spot words, so a reader can predict every answer."""

import shutil
from pathlib import Path
from typing import Any

from tests.support.damage import edit_manifest, replace_file, replace_graph
from tests.support.graphs import spotting_graph
from tests.support.tokenizers import GOOD, MORNING, WORDS, WORLD, write_word_tokenizer

# Words of a window, and words shared with the next window.
ROOM, OVERLAP = 6, 2
JAILBREAK = ("benign", "jailbreak")
INTENT = ("chat", "code", "maths")
VELA_HAZARDS = tuple(f"H{i}" for i in range(12))
# H2 holds only where it is certain, H5 already where it is unlikely; the others from 0.5 on.
THRESHOLDS = {"H2": 0.99, "H5": 0.2}
MORNING_HAZARDS, WORLD_HAZARD = (2, 3), 5


def write_jailbreak(tiny_bundle: Path, folder: Path) -> Path:
    """Write a level that flags "morning" and "world" at P(jailbreak) >= 0.5; "good" has 0.27."""
    table = [[9.0, -9.0]] * len(WORDS)
    table[GOOD] = [9.0, 8.0]
    table[MORNING] = table[WORLD] = [9.0, 12.0]
    positive = {"label": "jailbreak", "threshold": 0.5, "threshold_source": "as trained"}
    level = {"labels": list(JAILBREAK), "positive": positive}
    return _write(tiny_bundle, folder, "jailbreak", level, table)


def write_intent(tiny_bundle: Path, folder: Path) -> Path:
    """Write a level that takes "morning" for code and "world" for maths, and flags nothing."""
    table = [[2.0, 0.0, 0.0]] * len(WORDS)
    table[MORNING], table[WORLD] = [2.0, 5.0, 0.0], [2.0, 0.0, 5.0]
    return _write(tiny_bundle, folder, "intent", {"labels": list(INTENT)}, table)


def write_vela_hazards(tiny_bundle: Path, folder: Path) -> Path:
    """Write a multi-label level: P(H2) = P(H3) = 0.73 for "morning", P(H5) = 0.27 for "world"."""
    table = [[-9.0] * len(VELA_HAZARDS) for _ in WORDS]
    for i in MORNING_HAZARDS:
        table[MORNING][i] = 1.0
    table[WORLD][WORLD_HAZARD] = -1.0
    level = {
        "labels": list(VELA_HAZARDS),
        "activation": "sigmoid",
        "thresholds": dict(THRESHOLDS),
    }
    return _write(tiny_bundle, folder, "vela", level, table)


def _write(
    tiny_bundle: Path, folder: Path, name: str, level: dict[str, Any], table: list[list[float]]
) -> Path:
    bundle = Path(shutil.copytree(tiny_bundle, folder / name))
    words = write_word_tokenizer(folder / f"{name}-tokenizer.json")
    replace_file(bundle, "tokenizer.json", words.read_bytes())
    # The committed bundle's canaries are those of other graphs.
    (bundle / "canaries.json").unlink()
    replace_graph(bundle, "level1", spotting_graph(table))

    def alone(data: dict[str, Any]) -> None:
        spec = {**data["levels"]["level1"], **level}
        spec["tokenizer"].update(window_tokens=ROOM + 2, overlap_tokens=OVERLAP)
        data.update(name=name, levels={name: spec}, canaries=None)
        del data["cascade"], data["files"]["canaries.json"]

    edit_manifest(bundle, alone)
    return bundle
