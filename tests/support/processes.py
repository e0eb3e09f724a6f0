"""Python in a process of its own: fresh modules, real streams, a real exit code."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# A process that waits for what never comes must fail a test and not stop the suite.
_TIMEOUT_S = 120


def run(
    *command: str | Path,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, its output captured as UTF-8 text.

    Args:
        command: program and arguments.
        cwd: where it runs.
        stdin: what it reads.
        env: variables beside those of this process.
    """
    done = subprocess.run(
        [os.fspath(part) for part in command],
        cwd=cwd,
        input=stdin,
        env={**os.environ, **(env or {})},
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def run_python(
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs this environment's Python with warnings as errors."""
    return run(sys.executable, "-W", "error", *arguments, cwd=cwd, stdin=stdin, env=env)
