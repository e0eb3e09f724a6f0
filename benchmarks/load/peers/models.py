"""Level 1 in the forms that peers serve.

A folder has the merged weights, the tokenizer and each ONNX file that `benchmarks.engines.forms`
writes. The tokenizer truncates a text where hazgate's longest window ends.
"""

import json
import shutil
import tempfile
from pathlib import Path

from benchmarks.engines import forms
from benchmarks.harness.texts import proof_rows
from benchmarks.speed.merge import merge_levels
from hazgate.bundle.bundle import Bundle
from hazgate_export.model.sources import LocalSources

PORTABLE = forms.PORTABLE
DYNAMIC = forms.DYNAMIC
# infinity takes the ONNX file of a folder that has only one.
SINGLE = "single"


def write_peer_models(bundle: Bundle, recipe: Path, target: Path) -> Path:
    """Return the folder of the bundle's Level 1 below `target`; write it if it is missing.

    Args:
        bundle: the bundle that was made of `recipe`.
        recipe: names the weights that are served.
        target: its folders are named by bundle digests.

    Raises:
        WorkerFailed: a conversion failed.
        ExportError: the recipe's weights are unavailable.
    """
    folder = target / bundle.digest[:16] / bundle.manifest.cascade_for("this benchmark").level1
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # It has another name until it is whole, so an existing folder can be used.
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder.parent) as unfinished:
        level = bundle.manifest.cascade_for("this benchmark").level1
        merge_levels(recipe, LocalSources(), [level], Path(unfinished))
        made = Path(unfinished) / level
        shorten(made / "tokenizer_config.json", bundle.manifest.levels[level].tokenizer.max_tokens)
        forms.write_forms(made, made, proof_rows(bundle, level))
        _copy_single(made)
        made.rename(folder)
    return folder


def shorten(file: Path, max_tokens: int) -> None:
    """Set the length at which a transformers tokenizer truncates a text."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**settings, "model_max_length": max_tokens}), encoding="utf-8")


def _copy_single(folder: Path) -> None:
    """Copy the plain graph into a folder of its own, for servers that take any ONNX file."""
    single = folder / SINGLE
    single.mkdir()
    for file in folder.iterdir():
        if file.suffix in (".json", ".txt"):
            shutil.copy(file, single)
    for file in folder.glob(f"{PORTABLE}*"):
        shutil.copy(file, single)
