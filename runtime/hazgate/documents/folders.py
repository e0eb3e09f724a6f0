"""Write whole folders or none: a temporary sibling, renamed when it is complete."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """Give a fresh folder next to `target`, on the same file system; remove it at the end.

    The name carries the writer's process id, so the next writer removes what a killed one left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        if not _is_running(int(stale.name.split("-")[-2])):
            shutil.rmtree(stale)
    folder = Path(
        tempfile.mkdtemp(prefix=f".{target.name}.partial-{os.getpid()}-", dir=target.parent)
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def sync(root: Path) -> None:
    """Flush every file of a folder, and the folder itself, to the disk."""
    for path in (*root.rglob("*"), root):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
