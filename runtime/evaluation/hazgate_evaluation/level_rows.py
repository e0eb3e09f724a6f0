"""Texts with the labels of one level, read strictly from JSON Lines."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hazgate.documents.jsonl import (
    LineError,
    describe_bad_lines,
    parse_lines,
    parse_object,
    string_field,
)
from hazgate.errors import InputError
from hazgate.judging.classification import LabelHead
from hazgate_evaluation.label_fields import labels_in


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelRow:
    """One text and the labels that hold for it.

    `number` is its line in the file, from 1. Rows of one `group` are variants of one item and are
    never treated as independent.
    """

    number: int
    text: str
    labels: tuple[str, ...]
    group: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelDataset:
    """The rows of a file whose labels are known, and the file's identity."""

    rows: tuple[LevelRow, ...]
    name: str
    sha256: str
    n_rows_in_file: int


def read_level_rows(file: Path, level: str, head: LabelHead) -> LevelDataset:
    """Read the rows of a JSON Lines file that say which labels of a level hold.

    Each line is an object with `text` (a string); a field of the level's name has its labels, see
    `labels_in`, and rows without it are left out. Optional is `group` (a string). Other fields are
    ignored.

    Raises:
        InputError: the file cannot be read, has wrong lines, or no row has the field. Names every
            wrong line by number; quotes no text.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    rows: list[LevelRow] = []
    problems: list[str] = []
    n_rows = 0

    def parse(number: int, line: bytes) -> LevelRow | None:
        fields = parse_object(line)
        text = string_field(fields, "text")
        group = string_field(fields, "group") if fields.get("group") is not None else None
        labels = labels_in(fields, level, head)
        if labels is None:
            return None
        # A group of one row: no group in a file begins like this.
        own = f"\0line {number}" if group is None else group
        return LevelRow(number=number, text=text, labels=labels, group=own)

    for number, row in parse_lines(data.split(b"\n"), parse):
        n_rows += 1
        if isinstance(row, LineError):
            problems.append(f"line {number}: {row}")
        elif row is not None:
            rows.append(row)
    if problems:
        raise InputError(describe_bad_lines(file, problems))
    if not rows:
        what = "a label" if head.activation == "softmax" else "a list of labels"
        raise InputError(
            f"none of the {n_rows} rows of {file} has the field {level!r}, which says {what} of "
            f"that level: {', '.join(head.labels)}"
        )
    return LevelDataset(
        rows=tuple(rows),
        name=file.name,
        sha256=hashlib.sha256(data).hexdigest(),
        n_rows_in_file=n_rows,
    )
