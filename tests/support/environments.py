"""Separate environments for packages that conflict with each other or this project."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_INSTALL_S = 900


def environment(*requirements: str) -> Path:
    """Return the bin folder of an environment with these alone, kept below build/.

    The order counts: of two packages with the same files, the later one's are there.
    """
    spelt = [_with_its_own(each) for each in requirements]
    key = hashlib.sha256(f"{sys.version} {spelt}".encode()).hexdigest()[:16]
    folder = _ROOT / "build" / "environments" / key
    installed = folder / "installed"
    if not installed.exists():
        venv.create(folder, clear=True, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", os.fspath(folder / "bin" / "python")]
        for requirement in requirements:
            # One after another: later packages overwrite files of earlier ones.
            done = subprocess.run(
                [*pip, "install", "--quiet", "--disable-pip-version-check", requirement],
                capture_output=True,
                timeout=_INSTALL_S,
                check=False,
            )
            assert done.returncode == 0, done.stderr.decode()
        installed.write_text("\n".join(requirements), encoding="utf-8")
    return folder / "bin"


def _with_its_own(requirement: str) -> str:
    """Add what a folder requires in turn, so that a change of that makes a new environment."""
    project = Path(requirement.partition("[")[0], "pyproject.toml")
    return requirement + (project.read_text(encoding="utf-8") if project.is_file() else "")
