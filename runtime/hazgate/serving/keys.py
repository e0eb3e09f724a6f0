"""API keys: reading the file, and checking a request's key. Only digests are kept."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.errors import BundleError, InputError

KEY_NEEDED = "send a known API key as bearer token"
# Azure's clients send their key so.
_AZURE_KEY = "ocp-apim-subscription-key"


def read_api_keys(file: Path) -> tuple[bytes, ...]:
    """Return the SHA-256 of each key in a file: one key per line; blank and # lines are skipped.

    Raises:
        BundleError: the file cannot be read, is a TOML file, or has no key. An empty file must not
            open the server: to serve without keys, leave the setting out.
    """
    if file.suffix == ".toml":
        # Its lines would be taken for keys.
        raise BundleError(f"{file}: keys in TOML are read by hazgate serve and Ray Serve only")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} cannot be read as API keys: {type(error).__name__}") from error
    stripped = (line.strip() for line in lines)
    keys = [line for line in stripped if line and not line.startswith("#")]
    if not keys:
        raise BundleError(f"{file} has no API key; leave the setting out to serve without keys")
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """One key, by its SHA-256, and what it may be used for.

    `tenants` are the only ones whose rules a request with this key may ask for; None allows every
    tenant, and none. `max_tokens` limits one request; None leaves the server's limit.
    `max_concurrent` limits its requests that are open at the same time in one process; None does
    not.
    """

    digest: bytes
    name: str | None = None
    tenants: tuple[str, ...] | None = None
    max_tokens: int | None = None
    max_concurrent: int | None = None


class KeyRing:
    """The keys that a server accepts now; a reload replaces all of them at once."""

    def __init__(self, keys: Sequence[ApiKey | bytes] = ()) -> None:
        """Accept these keys, or keys with these SHA-256 digests; without any, none is needed."""
        self._by_caller: Mapping[str, ApiKey] = {}
        self._digests: tuple[bytes, ...] = ()
        self._open: Counter[str] = Counter()
        self._set(keys)

    @classmethod
    def of(cls, keys: "KeyRing | Sequence[ApiKey | bytes]") -> "KeyRing":
        """Return a ring itself, or a new one of keys."""
        return keys if isinstance(keys, KeyRing) else cls(keys)

    @property
    def needed(self) -> bool:
        """True if requests must bring a key."""
        return bool(self._digests)

    @property
    def tenants(self) -> frozenset[str]:
        """Every tenant that a key names."""
        return frozenset(name for key in self._by_caller.values() for name in key.tenants or ())

    def accepts(self, digest: bytes | None) -> bool:
        """Return whether a key is among those that are accepted."""
        return is_known(digest, self._digests)

    def tenant_of(self, caller: str, asked: str | None) -> str | None:
        """Return the tenant whose rules a request gets: of a key with one tenant, that one.

        Args:
            caller: the name under which the request queues, of a key its digest.
            asked: the tenant that the request names.

        Raises:
            InputError: the key may not be used for that tenant, or has several and none is named.
        """
        key = self._by_caller.get(caller)
        if key is None or key.tenants is None or asked in key.tenants:
            return asked
        if asked is not None:
            # The same for a tenant that exists and for one that does not.
            raise InputError("this key has no such tenant; send one that its operator gave you")
        if len(key.tenants) > 1:
            raise InputError("this key has several tenants: name one")
        return key.tenants[0]

    def max_tokens_of(self, caller: str, most: int) -> int:
        """Return the tokens that a request may have: the key's limit, at most the server's."""
        key = self._by_caller.get(caller)
        return most if key is None or key.max_tokens is None else min(most, key.max_tokens)

    def begin(self, caller: str) -> str | None:
        """Count one more open request of a caller, and return None. Not thread-safe.

        If its key has as many as it may, count nothing and return a sentence that says so.
        """
        key = self._by_caller.get(caller)
        most = None if key is None else key.max_concurrent
        if most is not None and self._open[caller] >= most:
            return (
                f"this key has {self._open[caller]} open requests and one more came; at most "
                f"{most} may be: wait for an answer, or have its max_concurrent raised"
            )
        self._open[caller] += 1
        return None

    def end(self, caller: str) -> None:
        """Count one open request of a caller less."""
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]

    def replace(self, keys: Sequence[ApiKey | bytes]) -> None:
        """Accept other keys from now on; never none in place of some.

        Raises:
            BundleError: there are none, and there were some.
        """
        if self._digests and not keys:
            raise BundleError("a server with API keys must keep some; start a new one without")
        self._set(keys)

    def _set(self, keys: Sequence[ApiKey | bytes]) -> None:
        every = [key if isinstance(key, ApiKey) else ApiKey(digest=key) for key in keys]
        self._by_caller = {key.digest.hex(): key for key in every}
        self._digests = tuple(key.digest for key in every)


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
