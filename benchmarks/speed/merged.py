"""Writes merged models, in a process of its own.

    python -m benchmarks.speed.merged < REQUEST

Merging needs memory and libraries that serving a merged model does not, so it must not happen
in the process that is measured. Reads `ModelFiles` as JSON from standard input.
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

from benchmarks.harness.messages import parse
from benchmarks.speed.systems import ModelFiles
from benchmarks.speed.torch_system import adapted_model
from hazgate_export.model.merge import merge
from hazgate_export.recipe_file import load_recipe


def save_merged(files: ModelFiles) -> None:
    """Save each level's merged model and its tokenizer below `files.merged`."""
    recipe = load_recipe(Path(files.recipe)).recipe
    for level, adapter in files.adapters.items():
        folder = Path(files.merged) / level
        merge(adapted_model(recipe, level, files)).save_pretrained(folder)
        places = [place for place in (adapter, files.base) if _has_tokenizer(Path(place))]
        AutoTokenizer.from_pretrained(places[0], local_files_only=True).save_pretrained(folder)


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file()


if __name__ == "__main__":
    save_merged(parse(ModelFiles, json.load(sys.stdin)))
