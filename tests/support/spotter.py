"""A bundle that flags two words, so a reader can predict every verdict."""

import shutil
from pathlib import Path

from tests.support.damage import edit_manifest, replace_file, replace_graph
from tests.support.graphs import spotting_graph
from tests.support.tiny import HAZARDS
from tests.support.tokenizers import MORNING, WORDS, WORLD, write_word_tokenizer

# Words of a window, and words shared with the next window.
ROOM, OVERLAP = 6, 2
MORNING_HAZARD, WORLD_HAZARD = 2, 5


def write_spotter(tiny_bundle: Path, folder: Path) -> Path:
    """Flags "morning" and "world", each as a hazard of its own, in windows of six words."""
    bundle = Path(shutil.copytree(tiny_bundle, folder / "bundle"))
    words = write_word_tokenizer(folder / "tokenizer.json", knows_others=True)
    replace_file(bundle, "tokenizer.json", words.read_bytes())
    # Other words are harmless.
    gate = [[9.0, -9.0]] * (len(WORDS) + 1)
    gate[MORNING] = gate[WORLD] = [9.0, 12.0]
    hazards = [[0.0] * len(HAZARDS) for _ in range(len(WORDS) + 1)]
    hazards[MORNING][MORNING_HAZARD] = hazards[WORLD][WORLD_HAZARD] = 9.0
    replace_graph(bundle, "level1", spotting_graph(gate))
    replace_graph(bundle, "level2", spotting_graph(hazards))

    def shorten(data: dict) -> None:  # type: ignore[type-arg]
        for level in data["levels"].values():
            level["tokenizer"].update(window_tokens=ROOM + 2, overlap_tokens=OVERLAP)

    edit_manifest(bundle, shorten)
    return bundle
