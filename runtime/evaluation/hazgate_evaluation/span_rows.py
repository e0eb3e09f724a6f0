"""Texts with marked spans, read strictly from JSON Lines."""

import hashlib
from collections.abc import Mapping, Sequence
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

_FIELDS = ("start", "end", "label")


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedSpan:
    """Characters that a person marked, in code points from `start` to before `end`."""

    label: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanRow:
    """One text with its marked spans.

    `number` is its line in the file, from 1. `context` is what the text is read behind, None for
    nothing. Rows of one `group` are variants of one item and are never treated as independent.
    """

    number: int
    text: str
    spans: tuple[MarkedSpan, ...]
    context: str | None
    group: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanDataset:
    """The rows of a file, and the file's identity."""

    rows: tuple[SpanRow, ...]
    name: str
    sha256: str


def read_spans(file: Path, types: Sequence[str]) -> SpanDataset:
    """Read the rows of a JSON Lines file, skipping blank lines.

    Each line is an object with `text` (a string) and `spans`: a list, perhaps empty, of objects
    with `start`, `end` and `label`. Characters are counted in code points of the text, and `end` is
    the first one behind the span. Optional are `context` and `group` (strings). Other fields of a
    line are ignored, those of a span are not.

    Args:
        file: the file.
        types: the types of spans that the level can find.

    Raises:
        InputError: the file cannot be read, is empty, or has wrong lines. Names every wrong line
            by number; quotes no text.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    rows: list[SpanRow] = []
    problems: list[str] = []

    def parse(number: int, line: bytes) -> SpanRow:
        return _parse(number, line, types)

    for number, row in parse_lines(data.split(b"\n"), parse):
        if isinstance(row, LineError):
            problems.append(f"line {number}: {row}")
        else:
            rows.append(row)
    if problems:
        raise InputError(
            f"{describe_bad_lines(file, problems)}\nthe level finds {', '.join(types)}"
        )
    if not rows:
        raise InputError(f"{file} has no rows; expected JSON Lines with text and spans")
    return SpanDataset(rows=tuple(rows), name=file.name, sha256=hashlib.sha256(data).hexdigest())


def _parse(number: int, line: bytes, types: Sequence[str]) -> SpanRow:
    fields = parse_object(line)
    text = string_field(fields, "text")
    context = string_field(fields, "context") if fields.get("context") is not None else None
    group = string_field(fields, "group") if fields.get("group") is not None else None
    marked = fields.get("spans")
    if not isinstance(marked, list):
        raise LineError("spans must be a list, which may be empty")
    spans: list[MarkedSpan] = []
    problems: list[str] = []
    for i, one in enumerate(marked):
        problem = _span_problem(one, text, types)
        if problem is not None:
            problems.append(f"spans[{i}]: {problem}")
            continue
        span = MarkedSpan(label=one["label"], start=one["start"], end=one["end"])
        if span in spans:
            problems.append(f"spans[{i}]: is there twice")
        spans.append(span)
    if problems:
        raise LineError("; ".join(problems))
    return SpanRow(
        number=number,
        text=text,
        spans=tuple(spans),
        context=context,
        # A group of one row: no group in a file begins like this.
        group=f"\0line {number}" if group is None else group,
    )


def _span_problem(span: object, text: str, types: Sequence[str]) -> str | None:
    """Return what is wrong with a span, None if nothing is."""
    if not isinstance(span, Mapping) or sorted(span) != sorted(_FIELDS):
        return f"expected an object with {', '.join(_FIELDS)} and nothing else"
    start, end = span["start"], span["end"]
    if type(start) is not int or type(end) is not int:
        return "start and end must be integers"
    if not 0 <= start < end <= len(text):
        return f"expected 0 <= start < end <= {len(text)} characters, got {start} to {end}"
    if span["label"] not in types:
        return "label is not a type that the level finds"
    return None
