"""API keys: reading the file, and checking a request's key. Only digests are kept."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path

from hazgate.errors import BundleError

KEY_NEEDED = "send a known API key as bearer token"
# Azure's clients send their key so.
_AZURE_KEY = "ocp-apim-subscription-key"


def read_api_keys(file: Path) -> tuple[bytes, ...]:
    """Return the SHA-256 of each key in a file: one key per line; blank and # lines are skipped.

    Raises:
        BundleError: the file cannot be read, or has no key. An empty file must not open the
            server: to serve without keys, leave the setting out.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} cannot be read as API keys: {type(error).__name__}") from error
    stripped = (line.strip() for line in lines)
    keys = [line for line in stripped if line and not line.startswith("#")]
    if not keys:
        raise BundleError(f"{file} has no API key; leave the setting out to serve without keys")
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def key_digest(headers: Mapping[str, str]) -> bytes | None:
    """Return the digest of the key in a request's headers, or None without a key.

    Args:
        headers: by name in lower case; a bearer token goes before Azure's own header.
    """
    digest = bearer_digest(headers.get("authorization", ""))
    if digest is not None or _AZURE_KEY not in headers:
        return digest
    return _digest(headers[_AZURE_KEY])


def bearer_digest(authorization: str) -> bytes | None:
    """Return the digest of the key in an `authorization` header, or None without a key."""
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key:
        return None
    return _digest(key)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()


def is_known(digest: bytes | None, known: Sequence[bytes]) -> bool:
    """Return whether a digest is among the known ones."""
    # Compare all of them, so that the time taken does not reveal the position of a match.
    matches = [hmac.compare_digest(digest or b"", each) for each in known]
    return any(matches)
