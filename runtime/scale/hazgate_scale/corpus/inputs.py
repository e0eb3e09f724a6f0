"""Input files of a run: names, folders, patterns and URIs, found through fsspec."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, cast

import fsspec
import pyarrow as pa
from fsspec.core import has_magic, url_to_fs

from hazgate.documents.problems import list_problems
from hazgate.errors import InputError
from hazgate_scale.corpus.options import Format

Compression = Literal["gzip", "zstd"]

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}
_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """An input file as it was found.

    `version` is the file system's mark of a file's state: an ETag, or size and time.
    """

    uri: str
    format: Format
    compression: Compression | None
    size_bytes: int
    version: str


def find_inputs(patterns: Sequence[str], format_: Format | None) -> tuple[InputFile, ...]:
    """List the files that `patterns` name, each once, in the order of their URIs.

    A folder means all files below it, except names that begin with a dot or an underscore, as is
    usual for Parquet.

    Args:
        patterns: paths or URIs of files or folders, or patterns with `*`, `?`, `[`.
        format_: format of all files; None takes it from their names.

    Raises:
        InputError: a pattern matches nothing or cannot be listed, or a file's format is unknown;
            names all of them.
    """
    found: dict[str, InputFile] = {}
    problems: list[str] = []
    for pattern in patterns:
        try:
            files = _expand(pattern)
        except Exception as error:  # each file system raises its own library's
            problems.append(f"{pattern}: cannot be listed: {error}")
            continue
        if not files:
            problems.append(f"{pattern}: no such file")
        for uri, size_bytes, version in files:
            kind, compression = _kind(uri)
            known = format_ or kind
            if known is None:
                endings = " ".join(_FORMATS)
                problems.append(f"{uri}: its name shows no format ({endings}); give --format")
                continue
            found[uri] = InputFile(
                uri=uri,
                format=known,
                compression=compression,
                size_bytes=size_bytes,
                version=version,
            )
    refuse(problems)
    return tuple(found[uri] for uri in sorted(found))


def refuse(problems: Sequence[str]) -> None:
    """Raise InputError with all of `problems`, if there are any."""
    if problems:
        raise InputError(f"the input cannot be read:{list_problems(problems)}")


def open_input(file: InputFile, start: int = 0) -> BinaryIO:
    """Open the decompressed bytes of a file from `start` on, buffered.

    A compressed file must start at 0.

    Raises:
        OSError: the file cannot be opened.
    """
    raw = fsspec.open(file.uri, "rb", compression=None).open()
    if start:
        raw.seek(start)
    if file.compression is not None:
        raw = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), file.compression)
    # BufferedReader finds lines in C; the files of fsspec do so in Python.
    return cast("BinaryIO", io.BufferedReader(raw, _BUFFER_BYTES))


def _expand(pattern: str) -> list[tuple[str, int, str]]:
    fs, path = url_to_fs(pattern)
    # Earlier listings may be out of date.
    fs.invalidate_cache()
    if has_magic(path):
        infos = fs.glob(path, detail=True)
        visible = {name: info for name, info in infos.items() if info["type"] == "file"}
    elif fs.isdir(path):
        infos = fs.find(path, detail=True)
        visible = {name: info for name, info in infos.items() if not _is_hidden(name, path)}
    else:
        visible = {path: fs.info(path)} if fs.exists(path) else {}
    return [
        (fs.unstrip_protocol(name), int(info["size"]), str(fs.ukey(name)))
        for name, info in visible.items()
    ]


def _is_hidden(name: str, folder: str) -> bool:
    below = PurePosixPath(name[len(folder) :]).parts
    return any(part.startswith((".", "_")) for part in below)


def _kind(uri: str) -> tuple[Format | None, Compression | None]:
    suffixes = PurePosixPath(uri).suffixes
    compression = _COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    ends = suffixes[:-1] if compression else suffixes
    return (_FORMATS.get(ends[-1]) if ends else None), compression
