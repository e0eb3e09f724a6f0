"""Read a body: from its bytes and headers to passages, or an error that says why it is unreadable.

One function for every protocol. What it cannot read it refuses; what is no text it lists.
"""

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from email.message import Message
from functools import lru_cache
from html import unescape

from hazgate.errors import InputError
from hazgate.judging.speech import Role, Side
from hazgate.serving.bodies import events
from hazgate.serving.bodies.form_fields import read_address, read_form, read_parts
from hazgate.serving.bodies.nested import with_letters
from hazgate.serving.bodies.passages import BodyText, Passage
from hazgate.serving.bodies.pieces import LONG_BYTES, read_long
from hazgate.serving.bodies.streams import read_events
from hazgate.serving.bodies.strict_json import parse
from hazgate.serving.bodies.textless import may_hold_no_text
from hazgate.serving.bodies.utf8 import decoded
from hazgate.serving.bodies.walk import read_value

# Requests of these methods have a body; where none came, the gateway was not told to send it.
_WITH_BODY = ("POST", "PUT", "PATCH")
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq")
_BINARY_STREAMS = ("application/vnd.amazon.eventstream", "application/grpc", "application/connect")
# A body of fewer bytes makes too little for the garbage collector to come by.
_MANY_BYTES = 4096
_BINARY_DOCUMENTS = (
    *("msgpack", "messagepack", "cbor", "protobuf", "google.protobuf", "avro", "bson"),
)


def read_request(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    upgrades: Collection[str] = (),
    known_empty: bool = False,
) -> BodyText:
    """Read a request that a gateway passed on.

    Args:
        method: of the original request.
        path: its path with its query, whose values are read, too.
        headers: of the original request, names in lower case.
        body: all of it.
        upgrades: protocols that the request may change to, in lower case, although nobody reads
            what follows.
        known_empty: the gateway says that the request has no body.

    Raises:
        InputError: the request has another upgrade, its method has a body and none came, or the
            body cannot be read; see `read_body`.
    """
    if any(name not in upgrades for name in upgrades_of(headers)):
        raise InputError("a request that upgrades its connection cannot be read: deny upgrades")
    asked = read_address(path)
    if not body.strip():
        if method.upper() in _WITH_BODY and not known_empty:
            raise InputError(
                "no body came with the request, so that nothing could be read; let the gateway "
                "send it (Envoy: with_request_body)"
            )
        return asked
    read = read_body({**headers, ":path": path}, body, "request")
    return BodyText(passages=(*asked.passages, *read.passages), unread=read.unread)


def upgrades_of(headers: Mapping[str, str]) -> list[str]:
    """Return the protocols to which a request changes, in lower case, e.g. "websocket".

    HTTP/2 is none: requests over it are read like any other.
    """
    names = (name.strip().lower() for name in headers.get("upgrade", "").split(","))
    return [name for name in names if name not in ("", "h2c")]


def read_body(headers: Mapping[str, str], body: bytes, side: Side) -> BodyText:
    """Read a body of either side.

    Args:
        headers: of the message; `content-type` and `content-encoding` are looked at, and in a
            request `:path`.
        body: all of it.
        side: "request" or "response".

    Raises:
        InputError: the body is compressed, not UTF-8, a binary stream, not exactly one JSON value
            where it should be JSON, holds token ids, equal keys, or nothing at all.
    """
    kind, boundary = content_type(headers)
    if not body.strip():
        return BodyText()
    with _collector_paused() if len(body) >= _MANY_BYTES else nullcontext():
        read = _read(kind, boundary, body, side)
    found = read.passages or read.unread or side == "response"
    if not found and not may_hold_no_text(headers.get(":path", ""), body):
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
    named = headers.get("content-type", "")
    if "," in named.partition(";")[0]:
        raise InputError("the body has two content types; servers differ in which they take")
    kind, charset, boundary = _parsed_type(named)
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise InputError(f"the body's charset is {_shown(charset)}; only UTF-8 can be read")
    if kind.startswith(_BINARY_STREAMS):
        raise InputError(f"{_shown(kind)} is a binary stream and cannot be read")
    if kind.partition("/")[2].removeprefix("x-").removeprefix("vnd.") in _BINARY_DOCUMENTS:
        raise InputError(f"{_shown(kind)} is a binary document and cannot be read; send JSON")
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
    first = body.lstrip()[:1]
    # Servers that take only JSON do not look at the type, which is curl's default.
    if kind == "application/x-www-form-urlencoded" and first not in (b"{", b"["):
        return read_form(body)
    if kind.startswith("multipart/"):
        return read_parts(boundary, body)
    if kind == "text/event-stream" or events.looks_like_events(body):
        said, asides = events.events_of(body)
        return read_events(said, side, asides)
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
    return _plain(decoded(body), side, has_entities=kind.endswith(("xml", "html")))


def _is_candidates(event: object) -> bool:
    return isinstance(event, dict) and "candidates" in event


def _plain(text: str, side: Side, *, has_entities: bool) -> BodyText:
    """Return a text, and what it says with its entities or escapes decoded if that is another one.

    YAML, scripts and JSONP are such texts.
    """
    role: Role = "user" if side == "request" else "assistant"
    lettered = with_letters(text)
    texts = dict.fromkeys((text, lettered, unescape(lettered) if has_entities else lettered))
    return BodyText(passages=tuple(Passage(text=each, place=(), role=role) for each in texts))


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
