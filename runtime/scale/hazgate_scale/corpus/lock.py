"""One driver at a time for one output."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hazgate.errors import OutputError
from hazgate_scale.corpus.output import Output


@contextmanager
def exclusive(output: Output) -> Iterator[None]:
    """Keep every other driver out of an output until the end of the block.

    The lock is a file beside a local folder, which the system releases if this process dies. Object
    stores have no such lock: there, nothing is kept out.

    Raises:
        OutputError: another driver is at work, or the file cannot be written.
    """
    if not output.is_local:
        yield
        return
    folder = Path(output.root)
    file = folder.with_name(f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(file)
    except BlockingIOError as error:
        raise OutputError(
            f"another hazgate corpus is at work on {output.uri}; wait until it has ended, or name "
            "another --output"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{file} cannot be written: {error.strerror}; name another --output, or make its "
            "folder writable"
        ) from error
    try:
        yield
    finally:
        # Removed while it is locked, so that nobody removes another's.
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(file: Path) -> int:
    """Return a descriptor of the locked file.

    Raises:
        BlockingIOError: another process has locked it.
        OSError: it cannot be opened.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have removed it meanwhile.
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
