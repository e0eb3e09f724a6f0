"""Writing whole files or none."""

import json
import os
import secrets
from pathlib import Path

from hazgate.documents.decode import encode


def write_atomically(file: Path, data: bytes) -> None:
    """Writes `data` to a temporary sibling and renames it, so that no reader sees half of it."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def json_bytes(value: object) -> bytes:
    """A dataclass as indented JSON; refuses NaN and infinity, which JSON does not have."""
    return (json.dumps(encode(value), indent=2, allow_nan=False) + "\n").encode()
