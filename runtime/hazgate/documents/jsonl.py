"""Strict reading of JSON and of JSON Lines.

A caller gives one function that turns a line into a row. That function raises `LineError` for a
line that it cannot use, and the readers here number lines, skip blank ones and report every bad
line in one message. No message quotes a line: lines hold users' texts.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from hazgate.documents.problems import list_problems
from hazgate.errors import InputError

T = TypeVar("T")

LineFault = Literal["not_utf8", "not_json", "missing", "wrong_type"]

# Some editors put it at the start of a UTF-8 file.
BOM = b"\xef\xbb\xbf"


class LineError(ValueError):
    """A line without a row. `fault` sorts it, the message says what is wrong."""

    def __init__(self, message: str, *, fault: LineFault = "wrong_type") -> None:
        super().__init__(message)
        self.fault: LineFault = fault


def parse_json(data: bytes, *, source: str, error: Callable[[str], Exception]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON document.

    Args:
        data: the whole file.
        source: the document's name in the error.
        error: the class of the error.

    Raises:
        error: not UTF-8, not JSON, NaN or Infinity, nested too deep, or a field is given twice
            in one object.
    """
    try:
        return _loads(data)
    except (ValueError, RecursionError) as cause:
        raise error(f"{source} is not a JSON document: {cause}") from cause


def parse_value(line: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of one line; a byte order mark before it is skipped.

    Raises:
        LineError: the line is not strict JSON in UTF-8.
    """
    try:
        return _loads(line.removeprefix(BOM))
    except UnicodeDecodeError as error:
        raise LineError("not UTF-8", fault="not_utf8") from error
    except _DuplicateKeyError as error:
        raise LineError("a field is given twice", fault="not_json") from error
    except (ValueError, RecursionError) as error:
        raise LineError("not JSON", fault="not_json") from error


def parse_object(line: bytes) -> dict[str, Any]:
    """Return the fields of a line that is one JSON object.

    Raises:
        LineError: the line is not strict JSON in UTF-8, or another kind of value.
    """
    value = parse_value(line)
    if not isinstance(value, dict):
        raise LineError(f"expected an object, got {type(value).__name__}")
    return value


def string_field(fields: Mapping[str, object], name: str) -> str:
    """Return a field that must be a string of valid Unicode.

    Raises:
        LineError: the field is missing, null, not a string, or holds a lone surrogate.
    """
    value = fields.get(name)
    if value is None:
        raise LineError(f"expected a string field {name}, got none", fault="missing")
    if not isinstance(value, str):
        raise LineError(f"expected a string field {name}, got {type(value).__name__}")
    if not is_unicode(value):
        raise LineError(f"{name} holds a lone surrogate", fault="not_utf8")
    return value


def is_unicode(text: str) -> bool:
    """Return True if UTF-8 can spell `text`: it holds no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def parse_lines(
    lines: Iterable[bytes], parse: Callable[[int, bytes], T]
) -> Iterator[tuple[int, T | LineError]]:
    """Yield each line's number, from 1, with its row or its error; blank lines are skipped.

    Args:
        lines: as a binary file yields them; they may come late, as on standard input.
        parse: takes a line's number and its bytes; returns its row or raises LineError.
    """
    for number, line in enumerate(lines, start=1):
        if not line.removeprefix(BOM).strip():
            continue
        try:
            row: T | LineError = parse(number, line)
        except LineError as error:
            row = error
        yield number, row


def stream_rows(
    lines: Iterable[bytes],
    parse: Callable[[int, bytes], T],
    *,
    source: str,
    error: Callable[[str], Exception] = InputError,
) -> Iterator[T]:
    """Yield rows as their lines come, up to the first bad line.

    Raises:
        error: a line has no row; names `source`, the line's number and the reason.
    """
    for number, row in parse_lines(lines, parse):
        if isinstance(row, LineError):
            raise error(f"{source}, line {number}: {row}")
        yield row


def checked_rows(
    file: Path,
    parse: Callable[[int, bytes], T],
    *,
    error: Callable[[str], Exception] = InputError,
) -> Iterator[T]:
    """Yield the rows of a file; at its end, refuse the file if any line was bad.

    Rows are not kept, so a file may be larger than memory. Use the rows only once the iterator
    has ended without an error, as `list(checked_rows(...))` does.

    Raises:
        error: the file cannot be read, or lines have no row; all of those are named.
    """
    problems: list[str] = []
    try:
        with file.open("rb") as lines:
            for number, row in parse_lines(lines, parse):
                if isinstance(row, LineError):
                    problems.append(f"line {number}: {row}")
                else:
                    yield row
    except OSError as cause:
        raise error(f"{file} cannot be read: {cause.strerror}") from cause
    if problems:
        raise error(describe_bad_lines(file, problems))


def describe_bad_lines(source: object, problems: list[str]) -> str:
    """Return the message that refuses a file: how many lines are bad, and the first of them."""
    lines = "1 bad line" if len(problems) == 1 else f"{len(problems)} bad lines"
    return f"{source}: {lines}{list_problems(problems)}"


def _loads(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    return json.loads(data.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_unique_keys)


class _DuplicateKeyError(ValueError):
    """An object gives one field twice."""


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _DuplicateKeyError(f"the field {twice!r} is given twice in one table")
    return table


def _refuse(constant: str) -> float:
    """Refuse NaN and Infinity, which Python reads although JSON does not have them."""
    raise ValueError(f"{constant} is not JSON")
