"""The texts that `hazgate classify` reads as JSON Lines."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hazgate.documents.jsonl import checked_rows, parse_object, stream_rows, string_field
from hazgate.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of input: its text, and its other fields untouched."""

    text: str
    rest: Mapping[str, object]


def read_rows(lines: Iterable[bytes], source: str) -> Iterator[Row]:
    """Yield a row for each line as it comes; skip blank lines.

    Raises:
        InputError: a line is not a JSON object with a string `text`; says which line and why.
    """
    return stream_rows(lines, _parse, source=source)


def check_file(file: Path) -> int:
    """Check every line of a file and return its number of rows.

    Raises:
        InputError: the file cannot be read, or lines are wrong; names all of them.
    """
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is not a regular file and can be read only once; pipe it into -")
    return sum(1 for _ in checked_rows(file, _parse))


def _parse(_number: int, line: bytes) -> Row:
    fields = parse_object(line)
    text = string_field(fields, "text")
    del fields["text"]
    return Row(text=text, rest=fields)
