"""The tiny bundle as one that vouches for languages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.damage import edit_manifest


def vouch(root: Path, languages: Sequence[str]) -> Path:
    """Make the bundle at `root` vouch for languages without evidence; return it."""

    def change(data: dict[str, Any]) -> None:
        data["languages"] = {tag: {} for tag in languages}
        data["schema_version"] = 4

    edit_manifest(root, change)
    return root
