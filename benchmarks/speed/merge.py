"""Merges adapters for PyTorch and the peers, in a child that gives its memory back."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.process import run_module
from benchmarks.speed.systems import ModelFiles
from hazgate.cli.progress import step
from hazgate.documents.decode import encode
from hazgate_export.model.sources import LevelSources, LocalSources, fetch_levels
from hazgate_export.recipe_file import load_recipe


def merge_levels(recipe: Path, local: LocalSources, levels: Sequence[str], target: Path) -> None:
    """Write a merged model and its tokenizer for each level, into folders of `target`.

    Raises:
        WorkerFailed: merging failed.
        ExportError: the recipe's weights are unavailable.
    """
    loaded = load_recipe(recipe)
    with tempfile.TemporaryDirectory(prefix="hazgate-sources-") as folder:
        fetched = fetch_levels(loaded, levels, local, Path(folder))
        write_merged(
            ModelFiles(
                recipe=str(recipe),
                bundle="",
                base=str(fetched[levels[0]].base.directory),
                adapters=adapter_folders(fetched),
                merged=str(target),
            )
        )


def adapter_folders(levels: Mapping[str, LevelSources]) -> dict[str, str]:
    """Return the folder of each level's adapter.

    Raises:
        BenchmarkError: a level is a whole checkpoint, which has none.
    """
    folders = {name: s.adapter.directory for name, s in levels.items() if s.adapter is not None}
    if whole := sorted(levels.keys() - folders):
        raise BenchmarkError(f"{', '.join(whole)}: only adapters are compared, not checkpoints")
    return {name: str(folder) for name, folder in folders.items()}


def write_merged(files: ModelFiles) -> None:
    """Write each level's merged model and its tokenizer below `files.merged`.

    Raises:
        WorkerFailed: merging failed.
    """
    step(f"merge {', '.join(files.adapters)} for PyTorch and its peers")
    run_module("benchmarks.speed.merged", request=json.dumps(encode(files)))
