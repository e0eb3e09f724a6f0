"""The page "What is read", made from the reader's own table of APIs.

`python -m tests.support.reading_page` writes it.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import get_args

from hazgate.serving.bodies.fields import Api, Field, Place
from hazgate.serving.bodies.strict_json import MAX_DEPTH
from hazgate.serving.bodies.table import APIS

PAGE = Path(__file__).parents[2] / "runtime" / "READING.md"

_PLACES: Mapping[Place, str] = {
    "body": "the body",
    "turn": "a turn",
    "part": "a part",
    "call": "a call",
    "definition": "a definition",
    "event": "a choice",
    "free": "an application's object",
    "media": "a part that is no text",
}

_HEAD = f"""# What is read

Made from the reader's table (`hazgate/serving/bodies/`) by `python -m tests.support.reading_page`.
How the server uses it: [SERVING.md](SERVING.md#what-is-read).

**Every string of a body is read**, known field or not, keys of an application's objects too. The
tables say what an API's fields mean. They cannot hide a string: a value that has not the form that
its field should have is read as text.

- *Text* says who speaks. Strings of one turn are one passage; turns stay apart.
- *Unread* parts hold no text, or none that can be read. The policy decides on them by kind.
- *No text* are identifiers, names of models and words of a closed list, each only in that form.
- *Asides* of a stream of server-sent events (comments, names of events, ids) are read, but for
  those that APIs use: `: ping`, `event: message_start`, an identifier.
- *Base64* is unread in the fields that hold bytes, and no text in signatures. In any other field it
  is read as the text that it is.
- YAML, scripts, JSONP and GraphQL are texts: they are read as they stand and, if they spell letters
  by number (`\\u0068`), also with the letters.
- *May lack text*: requests with that path and no other members pass if nothing in them is text.
- *Token ids* stand for text that only another tokenizer can give back. They are refused.

**Refused in every API**: equal keys in one object, also equal but for case; a byte-order mark;
bytes behind the JSON value; other encodings than UTF-8; a `content-encoding`; two
content types; binary documents (msgpack, CBOR, protobuf); more than {MAX_DEPTH}
levels; a number of more than 4,300 digits; a lone surrogate; binary event streams; an event or line
of a stream that does not parse; `multipart` that does not decode; an upgrade of the connection; a
request without anything to judge.
"""


def reading_page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(_section(api) for api in APIS)])


def _section(api: Api) -> str:
    rows = [
        ("text", _texts(api)),
        ("unread", _unread(api)),
        ("no text", _listed(api, lambda field: field.form is not None and field.unread is None)),
        ("refused", _listed(api, lambda field: field.ids, after="token ids in ")),
        ("may lack text", _textless(api)),
    ]
    shown = [(name, cell) for name, cell in rows if cell]
    lines = [f"| {name} | {cell} |\n" for name, cell in shown]
    return f"## {api.name[:1].upper()}{api.name[1:]}\n\n| | |\n| --- | --- |\n{''.join(lines)}"


def _texts(api: Api) -> str:
    """List the fields that hold text, by who speaks there."""
    by_role: dict[str, list[tuple[Place, str]]] = {}
    for (place, key), field in api.fields.items():
        if field.unread is None and (field.form is None or _holds(field)):
            by_role.setdefault(field.role or "as the turn says", []).append((place, key))
    cells = [f"*{role}*: {_by_place(fields)}" for role, fields in sorted(by_role.items())]
    return "<br>".join(cells)


def _holds(field: Field) -> bool:
    """Return whether a field has a place of its own for objects below it."""
    return field.place is not None and field.place != "media"


def _unread(api: Api) -> str:
    """List fields and types that hold no text, by kind."""
    by_kind: dict[str, list[str]] = {}
    for (place, key), field in api.fields.items():
        if field.unread is not None:
            by_kind.setdefault(field.unread, []).append(f"`{key}` of {_PLACES[place]}")
    for name, kind in api.media.items():
        by_kind.setdefault(kind, []).append(f"type `{name}`")
    return "<br>".join(f"*{kind}*: {', '.join(found)}" for kind, found in sorted(by_kind.items()))


def _textless(api: Api) -> str:
    """List requests that may hold no text, with the members that they may have."""
    return "<br>".join(
        f"`{each.route}`: {', '.join(f'`{key}`' for key in sorted(each.keys)) or 'nothing'}"
        for each in api.textless
    )


def _listed(api: Api, wanted: Callable[[Field], bool], after: str = "") -> str:
    found = [at for at, field in api.fields.items() if wanted(field)]
    return f"{after}{_by_place(found)}" if found else ""


def _by_place(fields: Iterable[tuple[Place, str]]) -> str:
    listed = list(fields)
    cells = []
    for place in get_args(Place):
        keys = sorted(f"`{key}`" for at, key in listed if at == place)
        if keys:
            cells.append(f"{_PLACES[place]}: {', '.join(keys)}")
    return "; ".join(cells)


if __name__ == "__main__":
    PAGE.write_text(reading_page(), encoding="utf-8")
