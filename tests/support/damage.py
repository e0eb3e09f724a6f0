"""Changes to a bundle on disk: honest ones, signed anew, and damage that a digest must catch."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hazgate.bundle.manifest import MANIFEST_FILE


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Applies `change` to the manifest's data and writes it back."""
    file = bundle / MANIFEST_FILE
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(json.dumps(data, indent=2), encoding="utf-8")


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Puts another file in the place of `name` and enters it in the manifest."""
    (bundle / name).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    edit_manifest(bundle, lambda data: data["files"].update({name: entry}))


def replace_graph(bundle: Path, level: str, graph: bytes, *, variant: str = "int8") -> None:
    """Lets `level` answer by another graph; int8 is what the tiny bundle runs by default."""
    replace_file(bundle, f"{level}-{variant}.onnx", graph)


def flip_byte(file: Path, offset: int | None = None) -> None:
    """Changes one bit of the byte at `offset`, or of the middle one; the size stays."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if offset is None else offset] ^= 1
    file.write_bytes(content)
