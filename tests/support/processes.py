"""Python in a separate process: fresh modules, real streams, a real exit code."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# A process that waits for ever must fail its test and not stop the suite.
_TIMEOUT_S = 120


def run(
    *command: str | Path,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; capture its output as UTF-8 text.

    Args:
        command: program and arguments.
        cwd: working directory.
        stdin: bytes of its standard input.
        env: variables added to those of this process.
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
    """Run this environment's Python with warnings as errors."""
    return run(sys.executable, "-W", "error", *arguments, cwd=cwd, stdin=stdin, env=env)
