"""Hold back and release: a body on its way passes only as far as it was judged. Pure.

Bytes come in; texts to judge and bytes to release come out. Whoever uses it asks the gate.
"""

import codecs
import dataclasses
import hashlib
import json
import math
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.bodies.endings import StreamEnding
from hazgate.serving.bodies.events import StreamParser, is_done, parse_event
from hazgate.serving.bodies.forms import StreamForm, form_of, parser_of
from hazgate.serving.bodies.growth import Growth
from hazgate.serving.bodies.nested import Unescaper
from hazgate.serving.bodies.passages import BodyText, Passage, Unread
from hazgate.serving.bodies.read import content_type, read_body
from hazgate.serving.bodies.streams import EventReader
from hazgate.serving.bodies.strict_json import parse_lenient
from hazgate.serving.bodies.walk import read_value
from hazgate.serving.failures import error_body
from hazgate.text.growing import GrowingText
from hazgate.text.tokenization import Tokenizer
from hazgate.text.watch import windowings_of

# Texts from this length on are not read twice, where a stream repeats them at its end.
_LONG_CHARACTERS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldLimits:
    """Bounds of what is held back.

    Attributes:
        hold_tokens: new tokens of a stream after which they are judged and released.
        hold_s: seconds after which they are, however few.
        max_held_bytes: bytes that may wait; an event or a body that is longer is unreadable.
    """

    hold_tokens: int
    hold_s: float
    max_held_bytes: int


class HoldBack:
    """One body on its way.

    Feed it the pieces as they come. Whenever `is_due`, judge what `take` returns, and then either
    pass on the bytes that `clear` returns, or the last bytes that `stop` returns, and nothing
    after them. A stream is released event by event; a body that is no stream is held until its
    end. Not for several threads at a time.

    `n_bytes` came in, and `n_released` of them were released, after the `delays_s` of their
    pieces.
    """

    def __init__(
        self, *, headers: Mapping[str, str], side: Side, tokenizer: Tokenizer, limits: HoldLimits
    ) -> None:
        """Start before the first byte.

        Args:
            headers: of the message, names in lower case.
            side: "request" or "response"; a request is always held until its end.
            tokenizer: of the level that reads the texts.
            limits: bounds of what is held back.
        """
        self._headers = headers
        self._side = side
        self._limits = limits
        self._held = bytearray()
        self._arrivals: deque[tuple[int, float]] = deque()
        self._form: StreamForm | None = "whole" if side == "request" else None
        self._events = _Events(tokenizer, limits.hold_tokens)
        # What may be released once the texts that were taken have been judged.
        self._upto = 0
        self._since_s: float | None = None
        self.ended = False
        self.stopped = False
        self.n_bytes = 0
        self.n_released = 0
        self.delays_s: list[float] = []

    @property
    def due_s(self) -> float:
        """The time from which on `take` is due; infinite if more bytes are needed first."""
        if self.ended:
            return -math.inf
        if self._form in (None, "whole"):
            return math.inf
        if self._events.n_new >= self._limits.hold_tokens:
            return -math.inf
        if self._since_s is not None:
            return self._since_s + self._limits.hold_s
        return -math.inf if self._events.n_done > self.n_released else math.inf

    def feed(self, piece: bytes, now_s: float, *, end: bool = False) -> None:
        """Take the next bytes; with `end` the last ones.

        Raises:
            InputError: the body cannot be read, or too much of it waits.
        """
        self.ended = end
        self.n_bytes += len(piece)
        self._held += piece
        if piece:
            self._arrivals.append((self.n_bytes, now_s))
        if len(self._held) > self._limits.max_held_bytes:
            raise InputError(
                f"over {self._limits.max_held_bytes} bytes wait to be judged: the body is no "
                "stream that can be read piece by piece, or an event of it is too long"
            )
        if self._form is None:
            kind, _ = content_type(self._headers)
            self._form = form_of(kind, bytes(self._held), end=end)
            if self._form is None or self._form == "whole":
                return
            self._events.begin(self._form)
            piece = bytes(self._held)
        if self._form != "whole":
            self._events.feed(piece, end=end)
            if self._events.waits and self._since_s is None:
                self._since_s = now_s

    def take(self) -> BodyText:
        """Return what must be judged before more can be released.

        Raises:
            InputError: the body cannot be read.
        """
        self._since_s = None
        if self._form == "whole" or (self.ended and self._form is None):
            if not self.ended:
                return BodyText()
            self._upto = self.n_bytes
            return read_body(self._headers, bytes(self._held), self._side)
        self._upto = self.n_bytes if self.ended else self._events.n_done
        return self._events.take()

    def clear(self, now_s: float) -> bytes:
        """Return the bytes that may pass: the texts that were taken have been judged."""
        released = bytes(self._held[: self._upto - self.n_released])
        del self._held[: len(released)]
        self.n_released = max(self.n_released, self._upto)
        while self._arrivals and self._arrivals[0][0] <= self.n_released:
            _, came_s = self._arrivals.popleft()
            self.delays_s.append(max(0.0, now_s - came_s))
        return released

    def stop(self, *, code: str, reason: str) -> bytes:
        """Return the last bytes of a body that is stopped, with the reason in its API's own form.

        Args:
            code: a word for programs, e.g. "blocked".
            reason: a sentence for people, without any text of the body.
        """
        self.stopped = True
        is_first = self.n_released == 0
        held, self._held = bytes(self._held), bytearray()
        if self._form not in (None, "whole"):
            return self._events.ending.bytes_of(
                self._form, code=code, reason=reason, is_first=is_first
            )
        is_json = "json" in self._headers.get("content-type", "") or held.lstrip()[:1] in (
            b"{",
            b"[",
        )
        return json.dumps(error_body(code, reason)).encode() if is_json and is_first else b""


class _Events:
    """The events of a stream so far: its texts, and how far whole events go."""

    def __init__(self, tokenizer: Tokenizer, hold_tokens: int) -> None:
        self._tokenizer = tokenizer
        # Somewhat more than `hold_tokens` have come when they are judged; they fit into a window.
        self._windowings = windowings_of(tokenizer, hold_tokens * 5 // 4)
        self._reader = EventReader()
        self._parser: StreamParser | None = None
        self._plain: _PlainText | None = None
        self._form: StreamForm = "text"
        self._texts: dict[Hashable, _StreamText] = {}
        self._waiting: dict[Hashable, _StreamText] = {}
        self._unread: list[Unread] = []
        self.ending = StreamEnding()

    def begin(self, form: StreamForm) -> None:
        self._form = form
        self._parser = parser_of(form)
        if self._parser is None:
            self._plain = _PlainText()

    @property
    def n_done(self) -> int:
        if self._parser is not None:
            return self._parser.n_done
        return 0 if self._plain is None else self._plain.n_done

    @property
    def waits(self) -> bool:
        return bool(self._waiting or self._unread)

    @property
    def n_new(self) -> int:
        return sum(text.growing.n_new for text in self._waiting.values())

    def feed(self, piece: bytes, *, end: bool) -> None:
        if self._plain is not None:
            text = self._plain.feed(piece, end=end)
            if text:
                self._grow(Growth(key=(), text=text, place=(), role="assistant", nested=False))
        elif self._parser is not None:
            for data in self._parser.feed(piece, end=end):
                if self._form == "events" and is_done(data):
                    continue
                event = parse_event(data)
                self._reader.add(event)
                self.ending.note(event)
            for aside in self._parser.take_asides():
                self._reader.add_aside(aside)
        for growth in self._reader.grown():
            self._grow(growth)
        self._unread += self._reader.unread()

    def _grow(self, growth: Growth) -> None:
        text = self._texts.get(growth.key)
        if text is None:
            text = _StreamText(growth, GrowingText(self._tokenizer, self._windowings))
            # Some streams repeat at their end, whole, what came in pieces.
            repeats = len(growth.text) >= _LONG_CHARACTERS and any(
                known.repeats(growth) for known in self._texts.values()
            )
            self._texts[growth.key] = text
            if repeats:
                return
        text.add(growth.text)
        self._waiting[growth.key] = text

    def take(self) -> BodyText:
        passages: dict[tuple[str, str], Passage] = {}
        for text in self._waiting.values():
            for passage in text.take():
                if not passage.text.isspace():
                    passages.setdefault((passage.role, passage.text), passage)
        unread, self._unread = self._unread, []
        self._waiting = {}
        return BodyText(passages=tuple(passages.values()), unread=tuple(unread))


class _StreamText:
    """One growing text of a stream."""

    __slots__ = ("_escapes", "_growth", "_parts", "_sha", "growing")

    def __init__(self, growth: Growth, growing: GrowingText) -> None:
        self._growth = dataclasses.replace(growth, text="")
        self._sha = hashlib.sha256()
        self._escapes = Unescaper() if growth.nested else None
        self._parts: list[str] = []
        self.growing = growing

    def add(self, piece: str) -> None:
        self._sha.update(piece.encode())
        if self._escapes is not None:
            self._parts.append(piece)
            piece = self._escapes.feed(piece)
        self.growing.add(piece)

    def repeats(self, growth: Growth) -> bool:
        """Return whether a text is, whole, what this one has grown to."""
        return (
            self._growth.role == growth.role
            and self._growth.nested == growth.nested
            and self._sha.digest() == hashlib.sha256(growth.text.encode()).digest()
        )

    def take(self) -> Iterator[Passage]:
        place, role = self._growth.place, self._growth.role
        for part in self.growing.rest():
            yield Passage(text=part.text, place=place, role=role)
        if self._escapes is not None and self._parts and self._parts[-1].rstrip()[-1:] in "}]":
            # JSON that has ended is read once more, string by string.
            inner = parse_lenient("".join(self._parts))
            if inner is not None:
                self._parts = []
                for passage in read_value({"arguments": inner}, "response").passages:
                    yield passage._replace(place=place, role=role)


class _PlainText:
    """A text that comes as bytes of UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._n_read = 0
        self.n_done = 0

    def feed(self, piece: bytes, *, end: bool) -> str:
        try:
            text = self._decoder.decode(piece, end)
        except UnicodeDecodeError:
            raise InputError("the body is not UTF-8; compressed ones cannot be read") from None
        if "\x00" in text:
            raise InputError("the body holds NUL characters: it is no text in UTF-8")
        self._n_read += len(piece)
        self.n_done = self._n_read - len(self._decoder.getstate()[0])
        return text
