"""The repository's own files, for tests that read them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "runtime/hazgate",
    "runtime/kernels/hazgate_kernels",
    "runtime/evaluation/hazgate_evaluation",
    "runtime/scale/hazgate_scale",
    "export/hazgate_export",
    "benchmarks",
)


@cache
def tracked(pattern: str) -> tuple[Path, ...]:
    """List the files that Git knows, or would add, and that exist."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", pattern]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name]
    return tuple(ROOT / name for name in sorted(set(names)) if (ROOT / name).is_file())


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Parse every Python file whose path begins with one of `folders`."""
    for path in tracked("*.py"):
        if path.relative_to(ROOT).as_posix().startswith(folders):
            yield path, ast.parse(path.read_text(encoding="utf-8"))
