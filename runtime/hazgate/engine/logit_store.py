"""A store of logits: what a level said about a window, so that the window is not read twice.

It keeps logits by a keyed hash of everything that they depend on, and by one of a text where its
windows are, so that it need not be tokenised again. It has no text and no token ids, and its hashes
say nothing without the secret, which never leaves the process.
"""

import dataclasses
import hashlib
import os
import secrets
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import BundleError

# A caller and its tenant, as the queue knows them.
Owner: TypeAlias = tuple[str, str | None]
Row: TypeAlias = Sequence[int]

NOBODY: Owner = ("", None)
_KEY_BYTES = 16
# Memory of an entry besides its logits: two Python objects, and its places in the ordered map,
# whose table doubles as it grows.
_ENTRY_BYTES = 384


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreLimits:
    """Limits of a store of logits.

    Attributes:
        max_bytes: memory that it may take, Python's own included; 0 turns it off.
        shared: callers and tenants share windows. The time of an answer then tells a caller if
            anybody else has sent the same lately.

    Raises:
        BundleError: `max_bytes` is negative.
    """

    max_bytes: int = 32 << 20
    shared: bool = False

    def __post_init__(self) -> None:
        """Refuse a negative size."""
        if self.max_bytes < 0:
            raise BundleError(f"max_bytes of a store must be at least 0, got {self.max_bytes}")


DEFAULT_STORE = StoreLimits()
NO_STORE = StoreLimits(max_bytes=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreFacts:
    """Counts of one store since it was made; nothing of a text.

    A window is a hit if its logits were there, else a miss. `n_entries` of `n_bytes` are kept now:
    windows, and outlines of texts.
    """

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    n_entries: int = 0
    n_bytes: int = 0

    def since(self, earlier: "StoreFacts") -> "StoreFacts":
        """Return the counts since an earlier look; what is kept now stays as it is."""
        return dataclasses.replace(
            self,
            hits=self.hits - earlier.hits,
            misses=self.misses - earlier.misses,
            evictions=self.evictions - earlier.evictions,
        )


class LogitStore:
    """The logits of the windows that were read last, up to a number of bytes. Thread-safe.

    A forked process begins with an empty store and a secret of its own.
    """

    def __init__(self, limits: StoreLimits) -> None:
        """Start empty; without room, nothing is ever kept."""
        self.limits = limits
        self._content = _Content()

    @classmethod
    def of(cls, limits: StoreLimits) -> "LogitStore | None":
        """Return a new store, or None if it is turned off."""
        return cls(limits) if limits.max_bytes else None

    def keys(self, source: tuple[str, ...], owner: Owner, rows: Iterable[Row]) -> list[bytes]:
        """Return the keys of rows of token ids.

        Args:
            source: everything else that logits depend on: the level, its bundle, its variant.
            owner: whose windows they are; nobody sees another's unless the store is shared.
            rows: token ids without padding, each from 0 to 2**32 - 1.
        """
        begun = self._begun(("window", *source), owner)
        return [_key(begun, row) for row in rows]

    def _begun(self, source: tuple[str, ...], owner: Owner) -> "hashlib.blake2b":
        begun = hashlib.blake2b(digest_size=_KEY_BYTES, key=self._own().secret)
        # Of a fixed length, so that no end of a name can pass for a token.
        scope = repr((source, None if self.limits.shared else owner))
        begun.update(hashlib.sha256(scope.encode("utf-8", "surrogatepass")).digest())
        return begun

    def text_key(self, source: tuple[str, ...], owner: Owner, text: str) -> bytes:
        """Return the key of a text's outline.

        Args:
            source: everything else that the outline depends on.
            owner: as of `keys`.
            text: a well-formed string.
        """
        begun = self._begun(("outline", *source), owner)
        begun.update(text.encode())
        return begun.digest()

    def outline(self, key: bytes) -> bytes | None:
        """Return the outline of a text, or None; count nothing."""
        content = self._own()
        with content.lock:
            outline = content.entries.get(key)
            if outline is not None:
                content.entries.move_to_end(key)
        return outline

    def keep_outline(self, key: bytes, outline: bytes) -> None:
        """Keep the outline of a text, as `keep` does logits."""
        content = self._own()
        with content.lock:
            content.put(key, outline)
            while content.n_bytes > self.limits.max_bytes:
                content.evict()

    def find_all(self, keys: Sequence[bytes]) -> list[NDArray[np.float32]] | None:
        """Return the logits of each window if all are there; else None, and count nothing."""
        content = self._own()
        with content.lock:
            found = [content.entries.get(key) for key in keys]
            if any(kept is None for kept in found):
                return None
            for key in keys:
                content.entries.move_to_end(key)
            content.hits += len(keys)
        return [np.frombuffer(kept, dtype=np.float32) for kept in found if kept is not None]

    def find(self, keys: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        """Return the logits of each window, or None; count hits and misses.

        A window that is missing twice is one miss: it is read once.
        """
        content = self._own()
        found: list[NDArray[np.float32] | None] = []
        with content.lock:
            for key in keys:
                kept = content.entries.get(key)
                if kept is not None:
                    content.entries.move_to_end(key)
                found.append(None if kept is None else np.frombuffer(kept, dtype=np.float32))
            missing = {key for key, kept in zip(keys, found, strict=True) if kept is None}
            content.hits += len(keys) - len(missing)
            content.misses += len(missing)
        return found

    def has(self, keys: Sequence[bytes]) -> list[bool]:
        """Return whether each window is kept; count nothing and move nothing."""
        content = self._own()
        with content.lock:
            return [key in content.entries for key in keys]

    def keep(self, keys: Sequence[bytes], logits: NDArray[np.float32]) -> None:
        """Keep the logits of windows, and drop the least recently used ones above the limit.

        Args:
            keys: of the windows.
            logits: finite, shape [len(keys), n_labels].
        """
        content = self._own()
        with content.lock:
            for key, row in zip(keys, logits, strict=True):
                content.put(key, np.asarray(row, dtype=np.float32).tobytes())
            while content.n_bytes > self.limits.max_bytes:
                content.evict()

    def clear(self) -> None:
        """Drop everything, e.g. because the model was replaced."""
        content = self._own()
        with content.lock:
            content.entries.clear()
            content.n_bytes = 0

    @property
    def facts(self) -> StoreFacts:
        """The counts until now."""
        content = self._own()
        with content.lock:
            return StoreFacts(
                hits=content.hits,
                misses=content.misses,
                evictions=content.evictions,
                n_entries=len(content.entries),
                n_bytes=content.n_bytes,
            )

    def _own(self) -> "_Content":
        """Return this process's content: not what was there before a fork, nor its lock."""
        content = self._content
        if content.process != os.getpid():
            content = self._content = _Content()
        return content


class _Content:
    """The windows, their secret and their counts, in one process."""

    __slots__ = ("entries", "evictions", "hits", "lock", "misses", "n_bytes", "process", "secret")

    def __init__(self) -> None:
        self.process = os.getpid()
        self.secret = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)
        self.lock = threading.Lock()
        self.entries: OrderedDict[bytes, bytes] = OrderedDict()
        self.n_bytes = 0
        self.hits = 0
        self.misses = 0
        self.evictions = 0

    def put(self, key: bytes, logits: bytes) -> None:
        """Put in a window as the most recently used one."""
        if key in self.entries:
            self.n_bytes -= _cost(self.entries.pop(key))
        self.entries[key] = logits
        self.n_bytes += _cost(logits)

    def evict(self) -> None:
        """Drop the least recently used window."""
        _, logits = self.entries.popitem(last=False)
        self.n_bytes -= _cost(logits)
        self.evictions += 1


def read_once(
    store: LogitStore, keys: Sequence[bytes], read: Callable[[list[int]], NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Return the logits of windows: from the store, or read, and each of them once.

    Args:
        store: keeps what is read.
        keys: of the windows; equal ones are equal windows.
        read: returns the logits of the windows at some indices of `keys`, a row for each; nothing
            is kept if it raises.
    """
    found = store.find(keys)
    first: dict[bytes, int] = {}
    for i, (key, logits) in enumerate(zip(keys, found, strict=True)):
        if logits is None:
            first.setdefault(key, i)
    if not first:
        return [logits for logits in found if logits is not None]
    fresh = read(list(first.values()))
    store.keep(list(first), fresh)
    new = dict(zip(first, fresh, strict=True))
    return [new[key] if logits is None else logits for key, logits in zip(keys, found, strict=True)]


def _cost(logits: bytes) -> int:
    """Return the memory of an entry, a little more than it takes."""
    return _ENTRY_BYTES + len(logits)


def _key(begun: "hashlib.blake2b", row: Sequence[int]) -> bytes:
    hashed = begun.copy()
    hashed.update(array("I", row).tobytes())
    return hashed.digest()
