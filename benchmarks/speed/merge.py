"""Merges adapters for PyTorch and the peers, in a child that gives its memory back."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.process import run_module
from benchmarks.speed.systems import ModelFiles
from hazgate.cli.progress import step
from hazgate.documents.decode import encode
from hazgate_export.model.sources import LocalSources, fetch_level
from hazgate_export.recipe import load_recipe


def merge_levels(recipe: Path, local: LocalSources, levels: Sequence[str], target: Path) -> None:
    """Write a merged model and its tokenizer for each level, into folders of `target`.

    Raises:
        WorkerFailed: merging failed.
        ExportError: the recipe's weights are unavailable.
    """
    loaded = load_recipe(recipe)
    fetched = {level: fetch_level(loaded, level, local) for level in levels}
    bases = {str(base.directory) for base, _ in fetched.values()}
    write_merged(
        ModelFiles(
            recipe=str(recipe),
            bundle="",
            base=min(bases),
            adapters={level: str(adapter.directory) for level, (_, adapter) in fetched.items()},
            merged=str(target),
        )
    )


def write_merged(files: ModelFiles) -> None:
    """Write each level's merged model and its tokenizer below `files.merged`.

    Raises:
        WorkerFailed: merging failed.
    """
    step(f"merge {', '.join(files.adapters)} for PyTorch and its peers")
    run_module("benchmarks.speed.merged", request=json.dumps(encode(files)))
