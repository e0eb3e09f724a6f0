"""A bundle directory, written beside its place and moved there when it is whole."""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hazgate.bundle.bundle import Bundle, sha256
from hazgate.bundle.manifest import MANIFEST_FILE, FileSpec, Manifest

PARITY_FILE = "parity.json"
README_FILE = "README.md"


@contextmanager
def partial_directory(target: Path) -> Iterator[Path]:
    """A fresh directory beside `target`, on the same file system; gone when the block ends.

    What a killed build left is removed by the next one: the name carries the builder's process.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        if not _is_running(int(stale.name.split("-")[-2])):
            shutil.rmtree(stale)
    folder = Path(
        tempfile.mkdtemp(prefix=f".{target.name}.partial-{os.getpid()}-", dir=target.parent)
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def list_files(root: Path) -> dict[str, FileSpec]:
    """Size and SHA-256 of every file in `root`, by path inside it, in order."""
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): FileSpec(
            sha256=sha256(path), size_bytes=path.stat().st_size
        )
        for path in paths
    }


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Writes `data` as indented JSON."""
    file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def finish(root: Path, manifest: Manifest, target: Path) -> Bundle:
    """Writes the manifest into `root`, opens the result as a runtime would, moves it to `target`.

    An older bundle at `target` is replaced; there is no moment at which `target` is half of one.

    Raises:
        BundleError: what was written does not open. `target` is untouched.
    """
    (root / MANIFEST_FILE).write_bytes(manifest.dump())
    opened = Bundle.open(root)
    sync(root)
    old = root.with_name(root.name + ".old")
    # mkdtemp makes directories that only their owner can enter; a bundle is for its readers.
    root.chmod(0o755)
    with suppress(FileNotFoundError):
        target.rename(old)
    root.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return dataclasses.replace(opened, root=target.resolve())


def sync(root: Path) -> None:
    """Sees to it that all of a directory is on the disk."""
    for path in (*root.rglob("*"), root):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
