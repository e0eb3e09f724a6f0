"""Parsing of a JSON line into a row, or into the reason why it is none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from hazgate.documents.jsonl import LineError, LineFault, is_unicode, parse_object, string_field
from hazgate_scale.corpus.rows import ErrorKind

_KINDS: Mapping[LineFault, ErrorKind] = {
    "not_utf8": "not_utf8",
    "not_json": "not_json",
    "missing": "missing_text",
    "wrong_type": "wrong_type",
}


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
    try:
        data = parse_object(line)
        text = string_field(data, text_column)
    except LineError as error:
        return Rejected(error=_KINDS[error.fault], message=str(error))
    del data[text_column]
    id_ = data.pop(id_column, None) if id_column is not None else None
    if not isinstance(id_, str | None):
        id_ = json.dumps(id_)
    if id_ is not None and not is_unicode(id_):
        return Rejected(error="not_utf8", message=f"{id_column} holds a lone surrogate")
    try:
        # 1e999 is a number in JSON, and becomes infinity, which is none.
        fields = json.dumps(data, allow_nan=False) if with_fields else None
    except ValueError:
        return Rejected(error="not_json", message="a number is too large for a double")
    return JsonRow(text=text, id=id_, fields=fields)
