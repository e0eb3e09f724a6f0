"""A bundle directory, written next to its place and moved there when it is whole."""

import dataclasses
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import MANIFEST_FILE, FileSpec, Manifest
from hazgate.documents.files import sha256, sync_folder
from hazgate.documents.folders import sync

PARITY_FILE = "parity.json"
README_FILE = "README.md"
# Thresholds of an operating point; a gateway may serve the bundle with it.
POLICY_FILE = "policy.toml"


def list_files(root: Path) -> dict[str, FileSpec]:
    """List size and SHA-256 of every file in `root`, by path inside it, in order."""
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): FileSpec(
            sha256=sha256(path), size_bytes=path.stat().st_size
        )
        for path in paths
    }


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Write `data` as indented JSON."""
    file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def finish(root: Path, manifest: Manifest, target: Path) -> Bundle:
    """Write the manifest into `root`, open the result as a runtime would, move it to `target`.

    An older bundle at `target` is replaced; `target` is never half of a bundle.

    Raises:
        BundleError: the new bundle does not open. `target` is untouched.
    """
    (root / MANIFEST_FILE).write_bytes(manifest.dump())
    opened = Bundle.open(root)
    sync(root)
    old = root.with_name(root.name + ".old")
    # mkdtemp makes directories that only their owner can enter; a bundle is for others to read.
    root.chmod(0o755)
    with suppress(FileNotFoundError):
        target.rename(old)
    root.rename(target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
    return dataclasses.replace(opened, root=target.resolve())
