"""Read a body: from its bytes and headers to passages, or an error that says why it is unreadable.

One function for every protocol. What it cannot read it refuses; what is no text it lists.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from functools import lru_cache
from urllib.parse import parse_qsl

from hazgate.errors import InputError
from hazgate.judging.speech import Role, Side
from hazgate.serving.bodies import events
from hazgate.serving.bodies.fields import is_id
from hazgate.serving.bodies.passages import BodyText, Passage, Unread
from hazgate.serving.bodies.pieces import LONG_BYTES, read_long
from hazgate.serving.bodies.strict_json import parse
from hazgate.serving.bodies.walk import read_events, read_value

# Requests of these methods have a body; where none came, the gateway was not told to send it.
_WITH_BODY = ("POST", "PUT", "PATCH")
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq")
_BINARY_STREAMS = ("application/vnd.amazon.eventstream", "application/grpc", "application/connect")
_MAX_FORM_FIELDS = 1000
_PLAIN_ENCODINGS = ("binary", "8bit", "7bit")


def read_request(method: str, path: str, headers: Mapping[str, str], body: bytes) -> BodyText:
    """Read a request that a gateway passed on.

    Args:
        method: of the original request.
        path: its path with its query, whose values are read, too.
        headers: of the original request, names in lower case.
        body: all of it.

    Raises:
        InputError: the request has an upgrade, its method has a body and none came, or the body
            cannot be read; see `read_body`.
    """
    if "upgrade" in headers and headers["upgrade"].lower() not in ("", "h2c"):
        raise InputError("a request that upgrades its connection cannot be read: deny upgrades")
    asked = _read_query(path)
    if not body.strip():
        if method.upper() in _WITH_BODY:
            raise InputError(
                "no body came with the request, so that nothing could be read; let the gateway "
                "send it (Envoy: with_request_body)"
            )
        return asked
    read = read_body(headers, body, "request")
    return BodyText(passages=(*asked.passages, *read.passages), unread=read.unread)


def read_body(headers: Mapping[str, str], body: bytes, side: Side) -> BodyText:
    """Read a body of either side.

    Args:
        headers: of the message; `content-type` and `content-encoding` are looked at.
        body: all of it.
        side: "request" or "response".

    Raises:
        InputError: the body is compressed, not UTF-8, a binary stream, not exactly one JSON value
            where it should be JSON, holds token ids, equal keys, or nothing at all.
    """
    kind, boundary = content_type(headers)
    if not body.strip():
        return BodyText()
    with _collector_paused() if len(body) >= LONG_BYTES else nullcontext():
        read = _read(kind, boundary, body, side)
    if side == "request" and not read.passages and not read.unread:
        raise InputError("the request holds no text and nothing else that could be judged")
    return read


def content_type(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return MIME type and boundary of a body; the type in lower case.

    Raises:
        InputError: the body is compressed, not UTF-8, or a binary stream.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise InputError(
            f"the body is compressed ({_shown(encoding)}) and cannot be read; remove "
            "accept-encoding, or let the gateway decompress it"
        )
    kind, charset, boundary = _parsed_type(headers.get("content-type", ""))
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise InputError(f"the body's charset is {_shown(charset)}; only UTF-8 can be read")
    if kind.startswith(_BINARY_STREAMS):
        raise InputError(f"{_shown(kind)} is a binary stream and cannot be read")
    return kind, boundary


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which would go over all that a long body makes again and again.

    What is read holds no cycles, and is made within milliseconds.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(kind: str, boundary: str, body: bytes, side: Side) -> BodyText:
    if kind == "application/x-www-form-urlencoded":
        return _read_form(body)
    if kind.startswith("multipart/"):
        return _read_parts(boundary, body)
    if kind == "text/event-stream" or events.looks_like_events(body):
        said, asides = events.events_of(body)
        return read_events(said, side, asides)
    first = body.lstrip()[:1]
    if kind in LINES or (first == b"{" and events.looks_like_lines(body)):
        return read_events(events.lines_of(body), side)
    if "json" in kind or first in (b"{", b"[") or body.startswith(b"\xef\xbb\xbf"):
        if len(body) >= LONG_BYTES and first == b"{":
            read = read_long(body, side)
            if read is not None:
                return read
        value = parse(body)
        # Gemini streams an array of events where nobody asked for server-sent ones.
        if side == "response" and isinstance(value, list) and all(map(_is_candidates, value)):
            return read_events(value, side)
        return read_value(value, side)
    return _plain(_decoded(body), side)


def _is_candidates(event: object) -> bool:
    return isinstance(event, dict) and "candidates" in event


def _plain(text: str, side: Side) -> BodyText:
    role: Role = "user" if side == "request" else "assistant"
    return BodyText(passages=(Passage(text=text, place=(), role=role),))


def _decoded(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the body is not UTF-8 at byte {error.start}; compressed and binary bodies cannot be "
            "read"
        ) from None
    if "\x00" in text:
        raise InputError("the body holds NUL characters: it is no text in UTF-8")
    return text


def _read_form(body: bytes) -> BodyText:
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
    return BodyText(passages=tuple(_passages_of_pairs(pairs)))


def _read_query(path: str) -> BodyText:
    # Not urlsplit, which refuses some paths that servers take.
    query = path.partition("?")[2]
    if not query:
        return BodyText()
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS
        )
    except (UnicodeDecodeError, ValueError):
        raise InputError("the query does not decode as UTF-8, or has over 1,000 fields") from None
    return BodyText(passages=tuple(_passages_of_pairs((k, v) for k, v in pairs if not is_id(v))))


def _passages_of_pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[Passage]:
    for i, (name, value) in enumerate(pairs):
        for text in (name, value):
            if text.strip() and not (text is name and is_id(text)):
                yield Passage(text=text, place=((), i), role="user")


def _read_parts(boundary: str, body: bytes) -> BodyText:
    if not boundary:
        raise InputError("the multipart body has no boundary")
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
        if part.get("content-transfer-encoding", "binary").lower() not in (
            "binary",
            "8bit",
            "7bit",
        ):
            raise InputError(f"part {i} of the multipart body has a transfer encoding")
        if kind.startswith("text/"):
            passages.append(Passage(text=_decoded(data), place=((), i), role="user"))
        elif "json" in kind:
            inner = read_value(parse(data), "request")
            passages += inner.passages
            unread += inner.unread
        else:
            family = kind.partition("/")[0]
            known = family if family in ("image", "audio", "video") else "file"
            unread.append(Unread(kind=known, place=((), i)))  # type: ignore[arg-type] # checked
    return BodyText(passages=tuple(p for p in passages if p.text.strip()), unread=tuple(unread))


@lru_cache(maxsize=64)
def _parsed_type(value: str) -> tuple[str, str, str]:
    """Return MIME type, charset and boundary of a content type; lower case but for the last.

    Callers send few different ones, and the parser of the standard library is slow.
    """
    message = Message()
    message["content-type"] = value or "application/octet-stream"
    kind = message.get_content_type() if value else ""
    charset = message.get_param("charset", "")
    boundary = message.get_param("boundary", "")
    return kind.lower(), str(charset).strip().lower(), str(boundary)


def _shown(value: str) -> str:
    """Return a header's value for a message if it is short and plain, else "unknown"."""
    return value if value.isascii() and value.isprintable() and len(value) <= 60 else "unknown"
