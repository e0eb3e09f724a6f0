"""The folder of a run: every file in it is complete or absent.

    parts/N.parquet     finished shard N; its footer holds the shard's tally
    _manifest.json      the run's options, inputs and shards
    _dead_letters/N.jsonl, files.jsonl   rows of shard N, or whole files, that were not judged
    _review/N.jsonl     shard N's candidates for the sample
    _review.jsonl, _summary.json         written once every part exists
    _SUCCESS            written last: the output is complete
    _temporary/         files being written; ignore them

Beside a local folder stands `.NAME.lock` while a driver is at work.

Readers of data sets skip names that begin with `_`, so they read the folder as it stands. A file
is written below `_temporary` and then moved to its name: a rename, or a copy of the whole object
on object stores.
"""

import errno
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from hazgate.documents.files import sync_folder
from hazgate.errors import OutputError

MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"
SUMMARY = "_summary.json"
REVIEW = "_review.jsonl"
BAD_FILES = "_dead_letters/files.jsonl"
_PARTS = "parts"
TEMPORARY = "_temporary"
_FOOTER_KEY = b"hazgate"
_ROW_GROUP_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """A run's folder on any file system."""

    fs: AbstractFileSystem
    root: str

    @classmethod
    def at(cls, uri: str) -> "Output":
        """Name the output at a path or URI; reads and writes nothing.

        Raises:
            OutputError: this kind of file system is not supported here.
        """
        try:
            fs, root = url_to_fs(uri)
        except (ImportError, ValueError, OSError) as error:
            raise OutputError(f"{uri} cannot be an output: {error}") from error
        return cls(fs=fs, root=root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """True for a folder of this machine's file systems."""
        return "file" in _protocols(self.fs)

    @property
    def uri(self) -> str:
        """The folder with its protocol."""
        return str(self.fs.unstrip_protocol(self.root))

    def path(self, name: str) -> str:
        """Return the path of the file `name`."""
        return f"{self.root}/{name}"

    def names(self, folder: str = "") -> list[str]:
        """List the files and folders in the output, or in one of its folders."""
        path = self.path(folder) if folder else self.root
        with self._reported():
            self.fs.invalidate_cache()
            if not self.fs.exists(path):
                return []
            return sorted(str(name).rpartition("/")[2] for name in self.fs.ls(path, detail=False))

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            OutputError: the file cannot be read.
        """
        with self._reported():
            return bytes(self.fs.cat_file(self.path(name)))

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a stream that becomes the file `name` if the block succeeds.

        Raises:
            OutputError: the file system refuses it, or is full.
        """
        temporary = self.path(f"{TEMPORARY}/{secrets.token_hex(8)}")
        target = self.path(name)
        with self._reported():
            for file in (temporary, target):
                self.fs.makedirs(file.rpartition("/")[0], exist_ok=True)
            try:
                with self.fs.open(temporary, "wb") as stream:
                    yield stream
                    stream.flush()
                    # A rename may reach the disk before the bytes do.
                    if self.is_local:
                        os.fsync(stream.fileno())
                self.fs.mv(temporary, target)
                if self.is_local:
                    # Otherwise `_SUCCESS` could outlive a part.
                    sync_folder(Path(target).parent)
            except BaseException:
                if self.fs.exists(temporary):
                    self.fs.rm_file(temporary)
                raise

    def write_json(self, name: str, value: object) -> None:
        """Write indented JSON."""
        with self.create(name) as stream:
            stream.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write JSON Lines; without rows, remove the file of an earlier attempt."""
        lines = [json.dumps(row) + "\n" for row in rows]
        if lines:
            with self.create(name) as stream:
                stream.write("".join(lines).encode())
        else:
            self.remove(name)

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Read rows that `write_lines` wrote; none if the file is absent."""
        with self._reported():
            if not self.fs.exists(self.path(name)):
                return []
        return [json.loads(line) for line in self.read(name).splitlines()]

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its content, if it exists."""
        with self._reported():
            if self.fs.exists(self.path(name)):
                self.fs.rm(self.path(name), recursive=True)

    def count_try(self, index: int) -> int:
        """Record an attempt at a shard; return how many attempts this run has made."""
        folder = f"{TEMPORARY}/tries/{index:06}"
        with self.create(f"{folder}/{secrets.token_hex(8)}"):
            pass
        return len(self.names(folder))

    def forget_tries(self, index: int) -> None:
        """Forget the attempts at a finished shard."""
        self.remove(f"{TEMPORARY}/tries/{index:06}")

    @contextmanager
    def create_part(self, index: int, schema: pa.Schema) -> Iterator["Part"]:
        """Yield the part of shard `index`, which exists once the block succeeds.

        Raises:
            OutputError: as in `create`.
        """
        with self.create(part_name(index)) as stream:
            writer = pq.ParquetWriter(stream, schema, compression="zstd")
            part = Part(writer=writer)
            try:
                yield part
                part.flush()
                writer.close()
            except BaseException:
                # Otherwise it would close when collected, after the stream has closed.
                with suppress(OSError):
                    writer.close()
                raise

    def part_indices(self) -> list[int]:
        """List the shards whose parts exist.

        Raises:
            OutputError: the folder of parts holds something else.
        """
        names = self.names(_PARTS)
        foreign = [name for name in names if not name.removesuffix(".parquet").isdecimal()]
        if foreign:
            raise OutputError(
                f"{self.path(_PARTS)} holds files that are no parts: {', '.join(foreign)}; "
                "remove them, or name another --output"
            )
        return [int(name.removesuffix(".parquet")) for name in names]

    def read_footer(self, index: int) -> object:
        """Read the value that `Part.footer` wrote.

        Raises:
            OutputError: the part is damaged.
        """
        path = self.path(part_name(index))
        try:
            with self.fs.open(path, "rb") as stream:
                return json.loads(pq.read_metadata(stream).metadata[_FOOTER_KEY])
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path} is damaged or no part of a run; remove that file and run again"
            ) from error

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.strerror or str(error)
            cure = "name another --output, or make it writable"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                cure = "free space and run the same command again; finished shards are kept"
            raise OutputError(f"{self.root} cannot be written: {what}; {cure}") from error


@dataclass(kw_only=True, slots=True)
class Part:
    """A part being written; rows are gathered into large row groups."""

    writer: pq.ParquetWriter
    pending: list[pa.RecordBatch] = field(default_factory=list)
    n_bytes: int = 0

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows."""
        self.pending.append(rows)
        self.n_bytes += rows.nbytes
        if self.n_bytes >= _ROW_GROUP_BYTES:
            self.flush()

    def footer(self, value: object) -> None:
        """Write a JSON value to the part's footer."""
        self.writer.add_key_value_metadata({_FOOTER_KEY: json.dumps(value)})

    def flush(self) -> None:
        """Write the gathered rows as a row group."""
        if self.pending:
            self.writer.write_table(pa.Table.from_batches(self.pending))
        self.pending, self.n_bytes = [], 0


def part_name(index: int) -> str:
    """Name a shard's part."""
    return f"{_PARTS}/{index:06}.parquet"


def dead_letters_name(index: int) -> str:
    """Name a shard's file of dead letters."""
    return f"_dead_letters/{index:06}.jsonl"


def review_name(index: int) -> str:
    """Name a shard's file of candidates for review."""
    return f"_review/{index:06}.jsonl"


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
