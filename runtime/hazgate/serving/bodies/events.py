"""Streams: server-sent events and lines of JSON, whole or piece by piece.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import codecs
import re
from collections.abc import Iterator
from typing import Protocol

from hazgate.errors import InputError
from hazgate.serving.bodies.asides import Aside, aside_of
from hazgate.serving.bodies.strict_json import parse

_DONE = "[DONE]"
_FIELDS = ("data", "event", "id", "retry")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_IN_STRING = re.compile(rb'"|\\.?', re.DOTALL)
_OUTSIDE = re.compile(rb'["\[\]{}]')


class StreamParser(Protocol):
    """A parser of a stream that comes in pieces.

    `n_done` are the bytes from the beginning that hold whole events, and nothing of a later one.
    """

    n_done: int

    def take_asides(self) -> list[Aside]:
        """Return what stood beside the data since the last call."""

    def feed(self, piece: bytes, *, end: bool = False) -> Iterator[str]:
        """Yield each event that `piece` completes; with `end` also the last one.

        Raises:
            InputError: the stream cannot be read.
        """


class EventParser:
    """Parser of server-sent events that may come in pieces.

    Lines end with CR LF, LF or CR, and with nothing else: U+2028 and its like are characters of a
    string. Comments, names of events and ids are asides, but for those that APIs use.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        # A line whose end has not come, joined when it ends.
        self._rest: list[bytes] = []
        self._data: list[str] = []
        self._asides: list[Aside] = []
        self._is_open = False
        self._n_read = 0
        self.n_done = 0

    def feed(self, piece: bytes, *, end: bool = False) -> Iterator[str]:
        """Yield the data of each event that `piece` completes; with `end` also of the last one.

        Raises:
            InputError: the stream is not UTF-8, or has a line that is no field.
        """
        held = self._rest and self._rest[-1].endswith(b"\r")
        if not (end or held or b"\n" in piece or b"\r" in piece):
            self._rest.append(piece)
            return
        data = b"".join((*self._rest, piece))
        at = 0
        for found in _LINE_END.finditer(data):
            # A CR at the end may be the first half of a CR LF.
            if found.end() == len(data) and found[0] == b"\r" and not end:
                break
            yield from self._take(data[at : found.start()], found.end() - at)
            at = found.end()
        self._rest = [data[at:]]
        if not end:
            return
        if at < len(data):
            yield from self._take(data[at:], len(data) - at)
        yield from self._take(b"", 0)

    def take_asides(self) -> list[Aside]:
        """Return the comments, names and ids that came since the last call and may be text."""
        asides, self._asides = self._asides, []
        return asides

    def _note(self, place: str, text: str) -> None:
        aside = aside_of(place, text)
        if aside is not None:
            self._asides.append(aside)

    def _take(self, raw: bytes, n_bytes: int) -> Iterator[str]:
        """Take one line that is `n_bytes` long with its end."""
        if self._n_read == 0:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        self._n_read += n_bytes
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError("the stream is not UTF-8; compressed ones cannot be read") from None
        if line.startswith(":"):
            self._note("comment", line[1:])
        elif line:
            self._is_open = True
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            elif name not in _FIELDS:
                raise InputError("the stream has a line that is no field of a server-sent event")
            else:
                self._note(name, value)
        else:
            self._is_open = False
            if self._data:
                event = "\n".join(self._data)
                self._data = []
                self.n_done = self._n_read
                yield event
        if not self._is_open:
            self.n_done = self._n_read


class LineParser:
    """Parser of lines of JSON that may come in pieces; blank lines are none."""

    def __init__(self) -> None:
        """Start before the first byte."""
        # A line whose end has not come, joined when it ends.
        self._rest: list[bytes] = []
        self.n_done = 0

    def take_asides(self) -> list[Aside]:
        """Return nothing: every line is data."""
        return []

    def feed(self, piece: bytes, *, end: bool = False) -> Iterator[str]:
        """Yield each line that `piece` completes; with `end` also the last one.

        Raises:
            InputError: the stream is not UTF-8.
        """
        if not end and b"\n" not in piece:
            self._rest.append(piece)
            return
        *lines, rest = b"".join((*self._rest, piece)).split(b"\n")
        self._rest = [rest]
        if end and rest:
            lines.append(rest)
            self.n_done -= 1
        for line in lines:
            self.n_done += len(line) + 1
            if line.strip():
                try:
                    yield line.decode("utf-8")
                except UnicodeDecodeError:
                    raise InputError("the stream is not UTF-8") from None


class ArrayParser:
    """Parser of one JSON array of objects that comes in pieces, as Gemini streams without SSE."""

    def __init__(self) -> None:
        """Start before the first byte."""
        # Bytes from the end of the last object.
        self._data = b""
        self._at = 0
        self._depth = 0
        self._in_string = False
        self._start = 0
        self._n_objects = 0
        self._n_before = 0
        self._is_closed = False
        self.n_done = 0

    def take_asides(self) -> list[Aside]:
        """Return nothing: between the objects of an array stands no text."""
        return []

    def feed(self, piece: bytes, *, end: bool = False) -> Iterator[str]:
        """Yield each object that `piece` completes.

        Raises:
            InputError: the array holds anything but objects, does not end, or is not UTF-8.
        """
        self._data += piece
        while found := (_IN_STRING if self._in_string else _OUTSIDE).search(self._data, self._at):
            self._at = found.end()
            mark = found[0]
            if self._in_string:
                # What is escaped may be in the next piece.
                if mark.startswith(b"\\") and len(mark) == 1:
                    self._at = found.start()
                    break
                self._in_string = mark != b'"'
            elif mark == b'"':
                if self._depth < 2:
                    raise InputError("the array of the stream holds something other than objects")
                self._in_string = True
            elif mark in b"[{":
                self._depth += 1
                if self._depth == 2:
                    self._start = found.start()
            else:
                self._depth -= 1
                if self._depth == 1:
                    yield self._object(found.end())
                elif self._depth < 1:
                    self._check_between(found.end(), closes=True)
                    self._is_closed = True
                    self._data, self._at = self._data[found.end() :], 0
                    break
        if self._is_closed and self._data.strip():
            raise InputError("the stream goes on behind its array")
        if end:
            if not self._is_closed:
                raise InputError("the array of the stream does not end")
            self.n_done = self._n_before + len(self._data)

    def _object(self, end: int) -> str:
        self._check_between(self._start, closes=False)
        raw = self._data[self._start : end]
        self._n_objects += 1
        self._n_before += end
        self.n_done = self._n_before
        self._data, self._at, self._start = self._data[end:], 0, 0
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError("the stream is not UTF-8") from None

    def _check_between(self, end: int, *, closes: bool) -> None:
        between = b"".join(self._data[:end].split())
        first = self._n_objects == 0
        right = (b"[]" if first else b"]") if closes else (b"[" if first else b",")
        if between != right:
            raise InputError("the array of the stream holds something other than objects")
        if closes:
            self._n_before += end


def events_of(body: bytes) -> tuple[list[object], list[Aside]]:
    """Parse a whole stream of server-sent events, and its asides; `[DONE]` is no event.

    Raises:
        InputError: it is not UTF-8, or an event is not one strict JSON value.
    """
    parser = EventParser()
    data = [each for each in parser.feed(body, end=True) if not is_done(each)]
    return [parse_event(each) for each in data], parser.take_asides()


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
    # Most bodies are one line, or have something else in their first one.
    start = len(body) - len(body.lstrip())
    end = body.find(b"\n", start)
    if end < 0 or not body[start:end].rstrip().endswith(b"}"):
        return False
    lines = [line for line in body.split(b"\n") if line.strip()]
    return len(lines) > 1 and all(
        line.strip().startswith(b"{") and line.strip().endswith(b"}") for line in lines
    )
