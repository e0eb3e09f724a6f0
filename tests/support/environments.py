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
    """Return the bin folder of an environment with these alone, kept below build/."""
    key = hashlib.sha256(f"{sys.version} {sorted(requirements)}".encode()).hexdigest()[:16]
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
