"""Changes to a bundle on disk: honest ones, signed again, and damage that a digest must catch."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hazgate.bundle.manifest import MANIFEST_FILE


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply `change` to the manifest's data and write it back."""
    file = bundle / MANIFEST_FILE
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(json.dumps(data, indent=2), encoding="utf-8")


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Replace the file `name` and update the manifest."""
    (bundle / name).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    edit_manifest(bundle, lambda data: data["files"].update({name: entry}))


def replace_graph(bundle: Path, level: str, graph: bytes, *, variant: str = "int8") -> None:
    """Replace the graph of `level`; the tiny bundle runs int8 by default."""
    replace_file(bundle, f"{level}-{variant}.onnx", graph)


def flip_byte(file: Path, offset: int | None = None) -> None:
    """Change one bit of the byte at `offset`, or of the middle byte; keep the size."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if offset is None else offset] ^= 1
    file.write_bytes(content)
