"""Parsing of a JSON line into a row, or into the reason why it is none."""

import json
from dataclasses import dataclass
from typing import Any

from hazgate_scale.corpus.rows import ErrorKind

# Some editors put it at the start of a UTF-8 file.
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonRow:
    """A row's text and id; `fields` holds the object's other fields as JSON, if wanted."""

    text: str
    id: str | None
    fields: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """The reason why a line is no row."""

    error: ErrorKind
    message: str


def parse_row(
    line: bytes, text_column: str, id_column: str | None, *, with_fields: bool
) -> JsonRow | Rejected:
    """Parse a line into a row; messages never repeat its content."""
    data = parse_object(line)
    if isinstance(data, Rejected):
        return data
    if data.get(text_column) is None:
        return Rejected(error="missing_text", message=f"no field {text_column}, or null")
    text = data.pop(text_column)
    if not isinstance(text, str):
        return Rejected(
            error="wrong_type",
            message=f"expected a string field {text_column}, got {type(text).__name__}",
        )
    id_ = data.pop(id_column, None) if id_column is not None else None
    if not isinstance(id_, str | None):
        id_ = json.dumps(id_)
    if not all(value is None or _is_unicode(value) for value in (text, id_)):
        return Rejected(error="not_utf8", message="text or id holds a lone surrogate")
    return JsonRow(text=text, id=id_, fields=json.dumps(data) if with_fields else None)


def parse_object(line: bytes) -> dict[str, Any] | Rejected:
    """Parse a line into an object."""
    try:
        data = json.loads(line.removeprefix(BOM).decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        return Rejected(error="not_utf8", message="not UTF-8")
    except (ValueError, RecursionError):
        return Rejected(error="not_json", message="not JSON")
    if not isinstance(data, dict):
        return Rejected(
            error="wrong_type", message=f"expected an object, got {type(data).__name__}"
        )
    return data


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse(constant: str) -> float:
    """NaN and Infinity, which Python reads although JSON does not have them."""
    raise ValueError(f"{constant} is not JSON")
