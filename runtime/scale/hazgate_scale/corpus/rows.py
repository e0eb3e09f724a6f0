"""Rows read from a file, and dead letters for rows that were not judged."""

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
    """A row that was not judged: its position and the reason, never its text.

    `position` is as in `Rows`; None means a whole file.
    """

    position: int | None
    error: ErrorKind
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Consecutive rows of a file.

    `positions` holds row numbers for a Parquet file, and positions of first bytes in the
    decompressed file for lines. `passed` has the columns that the output repeats, a row per text.
    """

    texts: list[str]
    positions: list[int]
    passed: pa.RecordBatch
    dead: list[DeadLetter]
