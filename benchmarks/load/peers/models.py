"""Level 1 in the forms that peers serve.

A folder has the merged weights, the tokenizer and each ONNX file that `benchmarks.engines.forms`
writes. The tokenizer cuts a text where hazgate's longest window ends.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.engines import forms
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.process import REPOSITORY
from benchmarks.speed.systems import ModelFiles
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import step
from hazgate.documents.decode import encode
from hazgate.text.tokenization import Tokenizer
from hazgate_export.build import LocalSources, fetch_level
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.recipe import load_recipe

PORTABLE = forms.PORTABLE
DYNAMIC = forms.DYNAMIC
# What infinity takes where a folder has one ONNX file.
SINGLE = "single"


def write_peer_models(bundle: Bundle, recipe: Path, target: Path) -> Path:
    """The folder of the bundle's Level 1 below `target`, written unless it is there already.

    Args:
        bundle: made of `recipe`.
        recipe: its weights and nothing else are served.
        target: folders are named by the bundle's digest.

    Raises:
        WorkerFailed: a conversion failed.
        ExportError: the recipe's weights cannot be had.
    """
    folder = target / bundle.digest[:16] / bundle.manifest.cascade.level1
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole, so that what is there can be used.
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder.parent) as unfinished:
        level = bundle.manifest.cascade.level1
        _merge(recipe, level, Path(unfinished))
        made = Path(unfinished) / level
        shorten(made / "tokenizer_config.json", bundle.manifest.levels[level].tokenizer.max_tokens)
        _convert(bundle, level, made)
        _copy_single(made)
        made.rename(folder)
    return folder


def shorten(file: Path, max_tokens: int) -> None:
    """Sets the length at which a transformers tokenizer cuts a text off."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**settings, "model_max_length": max_tokens}), encoding="utf-8")


def _copy_single(folder: Path) -> None:
    """Puts the plain graph aside as a model by itself, for whoever takes any ONNX file it finds."""
    single = folder / SINGLE
    single.mkdir()
    for file in folder.iterdir():
        if file.suffix in (".json", ".txt"):
            shutil.copy(file, single)
    for file in folder.glob(f"{PORTABLE}*"):
        shutil.copy(file, single)


def _merge(recipe: Path, level: str, target: Path) -> None:
    base, adapter = fetch_level(load_recipe(recipe), level, LocalSources())
    files = ModelFiles(
        recipe=str(recipe),
        bundle="",
        base=str(base.directory),
        adapters={level: str(adapter.directory)},
        merged=str(target),
    )
    step(f"merge {level} for the peers")
    _run("benchmarks.speed.merged", request=json.dumps(encode(files)))


def _convert(bundle: Bundle, level: str, folder: Path) -> None:
    spec = bundle.manifest.levels[level].tokenizer
    tokens = Tokenizer(bundle.file(spec.file), spec).encode(
        [text.text for text in load_proof_texts()]
    )
    rows = [list(text.windows[0].input_ids) for text in tokens]
    with tempfile.TemporaryDirectory() as scratch:
        calibration = Path(scratch) / "calibration.json"
        calibration.write_text(json.dumps(rows), encoding="utf-8")
        _run("benchmarks.engines.forms", str(folder), str(folder), str(calibration))


def _run(module: str, *arguments: str, request: str = "") -> None:
    """Runs a module in a child that gives its memory back."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", module, *arguments],
        input=request,
        encoding="utf-8",
        cwd=REPOSITORY,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode:
        raise WorkerFailed(f"{module} ended with exit code {done.returncode}, see above")
