"""Rows as they come out of a file, and what becomes of those that cannot be read."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

ErrorKind = Literal[
    "not_utf8",
    "not_json",
    "missing_text",
    "wrong_type",
    "too_large",
    "refused",
    "inference_failed",
    "bad_file",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A row that was not judged: where it stands and why. Never its text.

    `position` is as in `Rows`; None is a whole file.
    """

    position: int | None
    error: ErrorKind
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Consecutive rows of a file.

    `positions` are the row's number in a Parquet file, the first byte's in one of lines (of the
    decompressed file). `passed` are the columns that the output repeats, one row for each text.
    """

    texts: list[str]
    positions: list[int]
    passed: pa.RecordBatch
    dead: list[DeadLetter]
