"""Streams: server-sent events and lines of JSON, whole or piece by piece.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import codecs
from collections.abc import Iterator

from hazgate.errors import InputError
from hazgate.serving.bodies.strict_json import parse

_DONE = "[DONE]"
_FIELDS = ("data", "event", "id", "retry")


class EventParser:
    """Parser of server-sent events that may come in pieces.

    Lines end with CR LF, LF or CR, and with nothing else: U+2028 and its like are characters of a
    string. Names of events, ids and times are not part of a text; `data` is.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""
        self._data: list[str] = []
        self._at_start = True

    def feed(self, piece: bytes, *, end: bool = False) -> Iterator[str]:
        """Yield the data of each event that `piece` completes; with `end` also of the last one.

        Raises:
            InputError: the stream is not UTF-8.
        """
        try:
            text = self._decode.decode(piece, end)
        except UnicodeDecodeError:
            raise InputError("the stream is not UTF-8; compressed ones cannot be read") from None
        if self._at_start and text:
            text = text.removeprefix("\ufeff")
            self._at_start = False
        text = self._rest + text
        # A CR at the end may be the first half of a CR LF.
        held = "\r" if text.endswith("\r") and not end else ""
        lines = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        if end:
            lines += [self._rest, ""]
            self._rest = ""
        for line in lines:
            if line:
                self._take(line)
            elif self._data:
                yield "\n".join(self._data)
                self._data = []

    def _take(self, line: str) -> None:
        if line.startswith(":"):
            return
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        elif name not in _FIELDS:
            raise InputError("the stream has a line that is no field of a server-sent event")


def events_of(body: bytes) -> list[object]:
    """Parse a whole stream of server-sent events; `[DONE]` is none.

    Raises:
        InputError: it is not UTF-8, or an event is not one strict JSON value.
    """
    return [parse_event(data) for data in EventParser().feed(body, end=True) if not is_done(data)]


def parse_event(data: str) -> object:
    """Parse the data of one event.

    Raises:
        InputError: they are not one strict JSON value.
    """
    try:
        return parse(data)
    except InputError as error:
        raise InputError(f"an event of the stream cannot be read: {error}") from None


def is_done(data: str) -> bool:
    """Recognise the end of OpenAI's streams."""
    return data.strip() == _DONE


def lines_of(body: bytes) -> list[object]:
    """Parse lines of JSON; blank lines are none.

    Raises:
        InputError: it is not UTF-8, or a line is not one strict JSON value.
    """
    return [parse(line) for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.strip()]


def looks_like_events(body: bytes) -> bool:
    """Recognise a stream of server-sent events by its first line."""
    first = body.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")[:64]
    return first.startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


def looks_like_lines(body: bytes) -> bool:
    """Recognise several JSON objects, one per line."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    return len(lines) > 1 and all(
        line.strip().startswith(b"{") and line.strip().endswith(b"}") for line in lines
    )
