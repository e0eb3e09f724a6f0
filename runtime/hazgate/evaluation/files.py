"""Writing whole files or none."""

import json
import os
import tempfile
from pathlib import Path

from hazgate.decode import encode


def write_atomically(file: Path, data: bytes) -> None:
    """Writes `data` to a temporary sibling and renames it, so that no reader sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        # mkstemp keeps others out; a report is a file like any other.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def json_bytes(value: object) -> bytes:
    """A dataclass as indented JSON; refuses NaN and infinity, which JSON does not have."""
    return (json.dumps(encode(value), indent=2, allow_nan=False) + "\n").encode()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
