"""API keys: a file of them, and whether a request brought one. Only digests are kept."""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from hazgate.errors import BundleError


def read_api_keys(file: Path) -> tuple[bytes, ...]:
    """SHA-256 of each key in a file, one key a line, blank lines and lines with # left out.

    Raises:
        BundleError: the file cannot be read, or has no key: a server without keys is one without
            the setting, not one with an empty file.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} cannot be read as API keys: {type(error).__name__}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise BundleError(f"{file} has no API key; leave the setting out to serve without keys")
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def bearer_digest(authorization: str) -> bytes | None:
    """The digest of the key in an `authorization` header, None if it brings none."""
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key:
        return None
    return hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()


def is_known(digest: bytes | None, known: Sequence[bytes]) -> bool:
    """Whether a digest is one of those known."""
    # All are compared, so that time does not tell how many there are before a match.
    matches = [hmac.compare_digest(digest or b"", each) for each in known]
    return any(matches)
