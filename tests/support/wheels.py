"""Wheels of the project's distributions, built as they would be published."""

import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import run


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the distribution in `source`; return its wheel in `folder`."""
    done = run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
        *("--outdir", folder, source),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


def names_in(wheel: Path) -> set[str]:
    """List the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected_names(package: Path, version: str, data: Iterable[Path]) -> set[str]:
    """List what the wheel of one package should hold: its modules, data and metadata."""
    modules = {
        f"{package.name}/{path.relative_to(package).as_posix()}"
        for path in (*package.rglob("*.py"), *data)
    }
    info = f"{package.name}-{version}.dist-info"
    metadata = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    return modules | {f"{info}/{name}" for name in metadata}
