"""A file of a bundle that is opened once: what was hashed is what is read and mapped."""

import hashlib
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from hazgate.bundle.manifest import FileSpec
from hazgate.errors import IntegrityError

_CHUNK_BYTES = 1 << 20
CURE = "replace a bundle by renaming a whole directory, never by writing into its files"


class SealedFile:
    """One regular file behind one descriptor, which is closed when nobody uses it. Thread-safe.

    A file that replaces this one in its folder changes nothing here. A write into this one does,
    where it is mapped: `check` finds it.
    """

    __slots__ = ("__weakref__", "_descriptor", "_expected", "_lock", "_map", "_status", "name")

    def __init__(self, file: Path, name: str, expected: FileSpec) -> None:
        """Open `file`.

        Args:
            file: its path.
            name: its name in the manifest, for errors.
            expected: the manifest's entry.

        Raises:
            OSError: it cannot be opened.
        """
        # Without O_NONBLOCK, a pipe that somebody put there since it was looked at would be
        # waited for.
        self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)
        self._status = os.fstat(self._descriptor)
        self._expected = expected
        self._lock = threading.Lock()
        self._map: mmap.mmap | None = None
        self.name = name

    @property
    def status(self) -> os.stat_result:
        """The file's status when it was opened."""
        return self._status

    def sha256(self) -> str:
        """Return the SHA-256 of the file's bytes, hexadecimal.

        Raises:
            OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        for chunk in self._chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def read(self) -> bytes:
        """Return the file's bytes, hashed as they are returned.

        Raises:
            IntegrityError: they are not those of the manifest, or cannot be read.
        """
        try:
            content = b"".join(self._chunks())
        except OSError as error:
            raise IntegrityError(f"{self.name}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != self._expected.sha256:
            raise IntegrityError(f"{self.name}: SHA-256 differs from the manifest's; {CURE}")
        return content

    def map(self) -> mmap.mmap:
        """Return the file as a map that all who ask share, and whose pages all processes share.

        Raises:
            OSError: it cannot be mapped.
            ValueError: it is empty.
        """
        with self._lock:
            if self._map is None:
                self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            return self._map

    def is_unchanged(self) -> bool:
        """Return True if nobody wrote into the file since it was opened, by its size and time."""
        return identity_of(os.fstat(self._descriptor)) == identity_of(self._status)

    def check(self, file: Path | None = None) -> None:
        """Check that nobody wrote into the file since it was opened.

        Args:
            file: a path that was opened again by its name and must be this very file.

        Raises:
            IntegrityError: somebody did, or replaced it.
        """
        try:
            replaced = file is not None and identity_of(file.stat()) != identity_of(self._status)
        except OSError:
            replaced = True
        if replaced or not self.is_unchanged():
            done = "replaced" if replaced and self.is_unchanged() else "changed"
            raise IntegrityError(f"{self.name}: was {done} while it was opened; {CURE}")

    def _chunks(self) -> Iterator[bytes]:
        # Reading at places leaves alone the one position that forked processes share.
        at = 0
        while chunk := os.pread(self._descriptor, _CHUNK_BYTES, at):
            yield chunk
            at += len(chunk)


def identity_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return what a file that nobody wrote into or replaced keeps: device, inode, size, time."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
