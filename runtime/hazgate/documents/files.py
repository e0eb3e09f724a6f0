"""Reading whole files, and writing whole files or none."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from hazgate.documents.decode import encode

_CHUNK_BYTES = 1 << 20


def read_bytes(file: str | Path, *, error: Callable[[str], Exception]) -> bytes:
    """Return a file's bytes.

    Raises:
        error: the file cannot be read; says which and why.
    """
    try:
        return Path(file).read_bytes()
    except OSError as cause:
        raise error(f"{file} cannot be read: {cause.strerror}") from cause


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(file: Path, data: bytes) -> None:
    """Write `data` to a temporary sibling and rename it, so that no reader sees half of it."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk: a rename alone may be forgotten when the power fails."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_bytes(value: object) -> bytes:
    """Return a dataclass as indented JSON; refuse NaN and infinity, which JSON does not have."""
    return (json.dumps(encode(value), indent=2, allow_nan=False) + "\n").encode()
