"""Reading JSON Lines of texts, strictly."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hazgate.errors import InputError

# Enough to mend a file by; a file of another kind would report every line of it.
_MAX_PROBLEMS = 20
# Some editors put it at the start of a UTF-8 file.
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of input: its text, and its other fields untouched."""

    text: str
    rest: Mapping[str, object]


def read_rows(lines: Iterable[bytes], source: str) -> Iterator[Row]:
    """The rows of `lines`, blank ones skipped, as they come.

    Raises:
        InputError: a line is not a JSON object with a string `text`; says which and why.
    """
    for number, line in enumerate(lines, start=1):
        row, problem = _parse(line)
        if problem:
            raise InputError(f"{source}, line {number}: {problem}")
        if row:
            yield row


def check_file(file: Path) -> int:
    """How many rows `file` has, once every line of it has been found good.

    Raises:
        InputError: the file cannot be read, or lines are wrong; names all of them.
    """
    problems: list[str] = []
    n_rows = 0
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is no regular file and can be read only once; pipe it into -")
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                row, problem = _parse(line)
                n_rows += row is not None
                if problem:
                    problems.append(f"  - line {number}: {problem}")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    if problems:
        shown = problems[:_MAX_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"  - and {len(problems) - len(shown)} more")
        raise InputError(f"{file}: {len(problems)} bad lines\n" + "\n".join(shown))
    return n_rows


def _parse(line: bytes) -> tuple[Row | None, str]:
    """The row of a line, or what is wrong with it; neither for a blank line."""
    if not line.strip():
        return None, ""
    try:
        data = json.loads(line.removeprefix(_BOM).decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except (ValueError, RecursionError):
        return None, "not JSON"
    if not isinstance(data, dict):
        return None, f"expected an object with a field text, got {type(data).__name__}"
    text = data.pop("text", None)
    if not isinstance(text, str):
        return None, "expected a string field text"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return None, "text holds a lone surrogate"
    return Row(text=text, rest=data), ""


def _refuse(constant: str) -> float:
    """NaN and Infinity, which Python reads although JSON does not have them."""
    raise ValueError(f"{constant} is not JSON")
