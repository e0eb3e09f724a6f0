"""Make tests/data/tiny-bundle.zip, the bundle on which the runtime's suites run.

`python -m tests.support.make_tiny_bundle` builds it with the exporter and writes the archive.
"""

import tempfile
import zipfile
from pathlib import Path

from hazgate_export.build import build
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from tests.support.tiny import ARCHIVE, write_tiny_recipe

# The first date that a zip file can hold: the archive does not depend on when it is made.
_DATE = (1980, 1, 1, 0, 0, 0)


def pack(bundle: Path, archive: Path) -> None:
    """Write a bundle's files into an archive whose bytes depend on theirs alone."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for file in sorted(path for path in bundle.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(bundle).as_posix(), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes())


def main() -> None:
    """Build the tiny bundle and replace the committed archive."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "bundle"
        build(load_recipe(write_tiny_recipe(folder)), target, LocalSources())
        ARCHIVE.parent.mkdir(exist_ok=True)
        pack(target, ARCHIVE)


if __name__ == "__main__":
    main()
