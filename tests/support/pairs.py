"""A bundle whose answers are unsafe only beside certain questions."""

import shutil
from pathlib import Path

from tests.support.damage import edit_manifest, replace_file, replace_graph
from tests.support.graphs import conjunction_graph, spotting_graph
from tests.support.tiny import HAZARDS
from tests.support.tokenizers import MORNING, WORDS, WORLD, write_word_tokenizer

# Words of a window, and words shared with the next window. "user: … assistant: …" takes four.
ROOM, OVERLAP = 16, 2


def write_pair_spotter(tiny_bundle: Path, folder: Path, *, turn: str | None = None) -> Path:
    """Flags windows that hold both "morning" and "world", and neither word alone.

    `turn` takes the place of the bundle's format of a turn.
    """
    bundle = Path(shutil.copytree(tiny_bundle, folder / "bundle"))
    # The words of the format are known, too.
    words = write_word_tokenizer(folder / "tokenizer.json", knows_others=True)
    n_words = len(WORDS) + 1
    replace_file(bundle, "tokenizer.json", words.read_bytes())
    replace_graph(bundle, "level1", conjunction_graph(n_words, (MORNING, WORLD)))
    replace_graph(bundle, "level2", spotting_graph([[0.0] * len(HAZARDS)] * n_words))

    def change(data: dict) -> None:  # type: ignore[type-arg]
        for level in data["levels"].values():
            level["tokenizer"].update(window_tokens=ROOM + 2, overlap_tokens=OVERLAP)
        if turn is not None:
            data["conversation"]["turn"] = turn

    edit_manifest(bundle, change)
    return bundle
