"""Text in addresses and forms: paths, queries, url-encoded fields and the parts of multipart."""

import re
from collections.abc import Iterable
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl, unquote

from hazgate.errors import InputError
from hazgate.serving.bodies.fields import is_id, is_model
from hazgate.serving.bodies.passages import BodyText, Passage, Path, Unread
from hazgate.serving.bodies.strict_json import parse, parse_lenient
from hazgate.serving.bodies.utf8 import decoded
from hazgate.serving.bodies.walk import read_value

_MAX_FORM_FIELDS = 1000
_MAX_PARTS = 1000
_NESTED = re.compile(rb"^content-type:[ \t]*multipart/", re.IGNORECASE | re.MULTILINE)
_PLAIN_ENCODINGS = ("binary", "8bit", "7bit")
_PLAIN_CHARSETS = ("", "utf-8", "utf8", "us-ascii")
# Headers of a part that hold no text but what is read of them.
_HEADERS = (
    *("content-type", "content-disposition", "content-transfer-encoding", "content-length"),
    *("content-id", "mime-version"),
)
_WORD = re.compile(r"[A-Za-z]{3,}")
# Names of models and files in a path have up to so many words.
_MAX_WORDS_OF_NAME = 6


def read_form(body: bytes) -> BodyText:
    """Read the fields of a form.

    Raises:
        InputError: they do not decode.
    """
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FORM_FIELDS,
        )
    except (UnicodeDecodeError, ValueError):
        raise InputError("the form's fields do not decode as UTF-8, or are over 1,000") from None
    return _of_pairs(pairs)


def read_address(path: str) -> BodyText:
    """Read the path of a request: its segments that are no names, and the values of its query.

    Raises:
        InputError: the query does not decode.
    """
    # Not urlsplit, which refuses some paths that servers take.
    names, _, query = path.partition("?")
    segments = [unquote(segment) for segment in names.split("/")]
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS
        )
    except (UnicodeDecodeError, ValueError):
        raise InputError("the query does not decode as UTF-8, or has over 1,000 fields") from None
    said = [Passage(text=each, place=(), role="user") for each in segments if _is_said(each)]
    asked = _of_pairs((name, value) for name, value in pairs if not is_id(value))
    return BodyText(passages=(*said, *asked.passages), unread=asked.unread)


def _is_said(segment: str) -> bool:
    """Tell whether a segment of a path may be text: it is no name, or a name of many words."""
    words = _WORD.findall(segment)
    return any(map(str.isalnum, segment)) and (
        not is_model(segment) or len(words) > _MAX_WORDS_OF_NAME
    )


def _of_pairs(pairs: Iterable[tuple[str, str]]) -> BodyText:
    passages: list[Passage] = []
    unread: list[Unread] = []
    for i, (name, value) in enumerate(pairs):
        for text in (value,) if is_id(name) else (name, value):
            read = _of_field(text, ((), i))
            passages += read.passages
            unread += read.unread
    return BodyText(passages=tuple(passages), unread=tuple(unread))


def _of_field(text: str, place: Path) -> BodyText:
    """Read a field's text, or the JSON that it is."""
    inner = parse_lenient(text)
    if inner is not None:
        return read_value(inner, "request")
    passage = Passage(text=text, place=place, role="user")
    return BodyText(passages=(passage,) if text.strip() else ())


def read_parts(boundary: str, body: bytes) -> BodyText:
    """Read the parts of a multipart body.

    Raises:
        InputError: they do not decode.
    """
    if not boundary:
        raise InputError("the multipart body has no boundary")
    # The parser takes a fifth of a millisecond a part, and more than a line's time a level.
    n_parts = body.count(b"--" + boundary.encode("utf-8", "replace"))
    if n_parts > _MAX_PARTS + 1:
        raise InputError(
            f"the multipart body has {n_parts - 1} parts, at most {_MAX_PARTS} are read; send fewer"
        )
    if _NESTED.search(body):
        raise InputError("the multipart body has a multipart in it, which is not read; send none")
    head = f'Content-Type: multipart/form-data; boundary="{boundary}"\r\n\r\n'.encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart() or message.defects:
        raise InputError("the multipart body does not decode: its boundary or its end is missing")
    if (message.preamble or "").strip() or (message.epilogue or "").strip():
        raise InputError("the multipart body has text before its first part or behind its last")
    passages: list[Passage] = []
    unread: list[Unread] = []
    for i, part in enumerate(message.iter_parts()):
        kind = part.get_content_type()
        filename = part.get_filename()
        name = part.get_param("name", "", "content-disposition")
        if isinstance(name, str) and not is_id(name):
            passages.append(Passage(text=name, place=(((), i), "name"), role="user"))
        if filename:
            passages.append(Passage(text=filename, place=(((), i), "filename"), role="user"))
        if part.is_multipart() or part.defects:
            raise InputError(f"part {i} of the multipart body does not decode")
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if part.get("content-transfer-encoding", "binary").lower() not in _PLAIN_ENCODINGS:
            raise InputError(f"part {i} of the multipart body has a transfer encoding")
        if str(part.get_param("charset", "")).lower() not in _PLAIN_CHARSETS:
            raise InputError(f"part {i} of the multipart body is in another charset than UTF-8")
        for header, value in part.items():
            if header.lower() not in _HEADERS:
                passages.append(Passage(text=f"{header}: {value}", place=((), i), role="user"))
        if kind.startswith("text/") or "json" in kind:
            is_json = "json" in kind
            inner = (
                read_value(parse(data), "request") if is_json else _of_field(decoded(data), ((), i))
            )
            passages += inner.passages
            unread += inner.unread
        else:
            family = kind.partition("/")[0]
            known = family if family in ("image", "audio", "video") else "file"
            unread.append(Unread(kind=known, place=((), i)))  # type: ignore[arg-type] # checked
    return BodyText(passages=tuple(p for p in passages if p.text.strip()), unread=tuple(unread))
