"""The texts that `hazgate classify` reads, as JSON Lines or as plain lines."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hazgate.documents.jsonl import (
    BOM,
    LineError,
    checked_rows,
    parse_object,
    stream_rows,
    string_field,
)
from hazgate.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of input: its text, and its other fields untouched."""

    text: str
    rest: Mapping[str, object]


def read_rows(lines: Iterable[bytes], source: str, *, plain: bool) -> Iterator[Row]:
    """Yield a row for each line as it comes; skip blank lines.

    Args:
        lines: as a binary file yields them.
        source: their name in errors.
        plain: take each line as a text by itself, instead of as a JSON object.

    Raises:
        InputError: a line is not a JSON object with a string `text`, or a plain line is not UTF-8;
            says which line and why.
    """
    return stream_rows(lines, _parse_plain if plain else _parse, source=source)


def check_file(file: Path, *, plain: bool) -> int:
    """Check every line of a file and return its number of rows.

    Raises:
        InputError: the file cannot be read, or lines are wrong; names all of them.
    """
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is not a regular file and can be read only once; pipe it into -")
    return sum(1 for _ in checked_rows(file, _parse_plain if plain else _parse))


def _parse(number: int, line: bytes) -> Row:
    try:
        fields = parse_object(line)
    except LineError as error:
        # A file of another form is so from its first line on.
        if number > 1 or error.fault == "not_utf8":
            raise
        raise LineError(f"{error}; {_hint(line)}", fault=error.fault) from None
    text = string_field(fields, "text")
    del fields["text"]
    return Row(text=text, rest=fields)


def _hint(line: bytes) -> str:
    if line.removeprefix(BOM).lstrip().startswith(b"["):
        return "make lines of a JSON array, e.g. with jq -c '.[]'"
    return 'expected {"text": …} per line; add --plain if each line is a text'


def _parse_plain(_number: int, line: bytes) -> Row:
    try:
        text = line.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError:
        raise LineError("not UTF-8", fault="not_utf8") from None
    return Row(text=text.rstrip("\r\n"), rest={})
