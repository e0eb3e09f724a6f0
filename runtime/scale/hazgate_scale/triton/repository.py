"""A model repository on disk, written in a temporary folder and renamed when complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import MANIFEST_FILE
from hazgate.cli.progress import track
from hazgate.documents.files import json_bytes, sync_folder, write_atomically
from hazgate.documents.folders import partial_folder, sync
from hazgate.errors import IntegrityError, OutputError
from hazgate_scale.triton import warm_up
from hazgate_scale.triton.config import LABELS_FILE, decides_config, level_config, to_text
from hazgate_scale.triton.describe import FACTS_FILE, README_FILE, facts, readme
from hazgate_scale.triton.layout import DECIDES, LevelModel, RepositoryLayout, choose_layout
from hazgate_scale.triton.messages import ModelConfig
from hazgate_scale.triton.options import RepositoryOptions
from hazgate_scale.triton.signature import check_signature

CONFIG_FILE = "config.pbtxt"
_VERSION = "1"
# Triton's folder for the data of warm-up samples.
_WARM_UP = "warmup"


def write_repository(bundle: Path, target: Path, options: RepositoryOptions) -> RepositoryLayout:
    """Write the repository of a bundle to `target`, which must not exist.

    Weights are stored once: every model links to the files of the bundle's copy.

    Raises:
        OutputError: `target` exists.
        BundleError: the bundle is not the exported one, or cannot be served like this.
        MissingExtra: tritonclient is not installed.
    """
    if target.exists() or target.is_symlink():
        raise OutputError(f"{target} exists and is not overwritten; remove it, or name another")
    opened = Bundle.open(bundle)
    layout = choose_layout(opened.manifest, options)
    configs = {m.name: level_config(m, layout, options, opened.digest) for m in layout.levels}
    for model in layout.levels:
        check_signature(configs[model.name], opened.file(model.variant.graph))
    with partial_folder(target) as folder:
        root = folder / "repository"
        copy = _write_decides(root, opened, decides_config(layout, options, opened.digest))
        for model in layout.levels:
            _write_level(root, copy, model, configs[model.name])
        write_atomically(root / FACTS_FILE, json_bytes(facts(opened, layout, options)))
        (root / README_FILE).write_text(readme(opened, layout, options), encoding="utf-8")
        sync(root)
        root.rename(target)
        sync_folder(target.parent)
    return layout


def _write_decides(root: Path, bundle: Bundle, config: ModelConfig) -> Bundle:
    """Write the model that reads texts and its copy of the bundle; return the copy."""
    version = root / DECIDES / _VERSION
    copy = version / "bundle"
    copy.mkdir(parents=True)
    for name in track([MANIFEST_FILE, *bundle.manifest.files], "bundle"):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.file(name), target)
    copied = Bundle.open(copy)
    if copied.digest != bundle.digest:
        raise IntegrityError(f"{bundle.root} changed while it was copied; try again")
    model = files("hazgate_scale.triton").joinpath("model.py").read_text(encoding="utf-8")
    (version / "model.py").write_text(model, encoding="utf-8")
    _write_config(root / DECIDES, config, {warm_up.TEXT_FILE: warm_up.text()})
    return copied


def _write_level(root: Path, bundle: Bundle, model: LevelModel, config: ModelConfig) -> None:
    folder = root / model.name
    version = folder / _VERSION
    version.mkdir(parents=True)
    for name, source in _files(bundle, model):
        target = version / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(source, target)
    labels = "".join(f"{label}\n" for label in model.spec.labels)
    (folder / LABELS_FILE).write_text(labels, encoding="utf-8")
    _write_config(folder, config, {warm_up.MASK_FILE: warm_up.mask_of_row(model)})


def _files(bundle: Bundle, model: LevelModel) -> Iterator[tuple[str, Path]]:
    """Yield the graph and its weights, by name in the version's folder."""
    yield "model.onnx", bundle.file(model.variant.graph)
    for name in model.variant.data:
        yield name, bundle.file(name)


def _write_config(folder: Path, config: ModelConfig, samples: dict[str, bytes]) -> None:
    (folder / CONFIG_FILE).write_text(to_text(config), encoding="utf-8")
    if config.model_warmup:
        (folder / _WARM_UP).mkdir()
        for name, data in samples.items():
            (folder / _WARM_UP / name).write_bytes(data)


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy on file systems without links."""
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
