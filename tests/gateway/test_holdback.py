"""A stream passes only as far as it was judged, byte for byte, and ends in its API's own form."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import Gate, InputError
from hazgate.serving.bodies.events import ArrayParser, EventParser, LineParser, StreamParser
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.read import read_body
from hazgate.serving.holdback import HoldBack, HoldLimits

LIMITS = HoldLimits(hold_tokens=4, hold_s=1.0, max_held_bytes=100_000)
REASON = "Blocked by the safety gate: violence"
BAD = "morning"

Write = Callable[[Sequence[str]], tuple[str, list[bytes]]]


def _sse(events: Sequence[object], *, named: bool = False, done: bool = False) -> list[bytes]:
    lines = []
    for event in events:
        assert isinstance(event, dict)
        name = f"event: {event['type']}\r\n" if named else ""
        lines.append(f"{name}data: {json.dumps(event)}\r\n\r\n".encode())
    return [*lines, *([b"data: [DONE]\n\n"] if done else [])]


def _chat(words: Sequence[str]) -> tuple[str, list[bytes]]:
    events: list[dict[str, Any]] = [
        {
            "id": "c-1",
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
        }
        for word in words
    ]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events.append({"object": "chat.completion.chunk", "model": "m", "choices": [last]})
    return "text/event-stream", [b": PROCESSING\n\n", *_sse(events, done=True)]


def _two_choices(words: Sequence[str]) -> tuple[str, list[bytes]]:
    return "text/event-stream", _sse(
        [
            {"object": "chat.completion.chunk", "choices": [{"index": i, "delta": delta}]}
            for word in words
            for i, delta in enumerate(({"content": word}, {"reasoning_content": "good "}))
        ],
        done=True,
    )


def _tool_call(words: Sequence[str]) -> tuple[str, list[bytes]]:
    escaped = "".join(f"\\u{ord(c):04x}" for c in "".join(words))
    pieces = [escaped[i : i + 5] for i in range(0, len(escaped), 5)]
    deltas = [
        {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        for piece in ['{"q": "', *pieces, '"}']
    ]
    return "text/event-stream", _sse(
        [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas], done=True
    )


def _anthropic(words: Sequence[str]) -> tuple[str, list[bytes]]:
    block = {"type": "content_block_start", "index": 0}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {**block, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    ]
    for word in words:
        delta = {"type": "text_delta", "text": word}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events.append({"type": "message_stop"})
    return "text/event-stream; charset=utf-8", _sse(events, named=True)


def _responses(words: Sequence[str]) -> tuple[str, list[bytes]]:
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", **place, "sequence_number": i, "delta": word}
        for i, word in enumerate(words)
    ]
    events.append({"type": "response.output_text.done", **place, "text": "".join(words)})
    return "", _sse(events, named=True)


def _gemini(words: Sequence[str]) -> tuple[str, list[bytes]]:
    events = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": word}]}}]}
        for word in words
    ]
    return "text/event-stream", _sse(events)


def _gemini_array(words: Sequence[str]) -> tuple[str, list[bytes]]:
    events = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": word}]}}]}
        for word in words
    ]
    pieces = [json.dumps(event, indent=1).encode() for event in events]
    return "application/json", [b"[" + pieces[0], *(b",\n" + piece for piece in pieces[1:]), b"]\n"]


def _ollama(words: Sequence[str]) -> tuple[str, list[bytes]]:
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": word}, "done": False}
        for word in words
    ]
    return "application/x-ndjson", [
        *(json.dumps(line).encode() + b"\n" for line in lines),
        b'{"model": "m", "done": true, "done_reason": "stop"}\n',
    ]


def _lines_without_type(words: Sequence[str]) -> tuple[str, list[bytes]]:
    return "", _ollama(words)[1]


def _plain(words: Sequence[str]) -> tuple[str, list[bytes]]:
    return "text/plain", [word.encode() for word in words]


def _cohere(words: Sequence[str]) -> tuple[str, list[bytes]]:
    events = [
        {
            "type": "content-delta",
            "index": 0,
            "delta": {"message": {"content": {"text": word}}},
        }
        for word in words
    ]
    return "text/event-stream", _sse(events)


STREAMS: dict[str, Write] = {
    "chat": _chat,
    "two choices": _two_choices,
    "tool call": _tool_call,
    "anthropic": _anthropic,
    "responses": _responses,
    "gemini": _gemini,
    "gemini array": _gemini_array,
    "ollama": _ollama,
    "lines without type": _lines_without_type,
    "plain": _plain,
    "cohere": _cohere,
}


class _Passed:
    """A stream that went through: what left, what was judged, and how it ended."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.judged: list[str] = []
        self.ending: bytes | None = None

    @property
    def released(self) -> bytes:
        return b"".join(self.pieces)


def _send(gate: Gate, kind: str, pieces: Sequence[bytes], *, tick_s: float = 0.3) -> _Passed:
    """Send pieces through a hold-back; the clock ticks with each."""
    headers = {"content-type": kind}
    hold = HoldBack(
        headers=headers, side="response", tokenizer=gate.level1.tokenizer, limits=LIMITS
    )
    passed, now_s = _Passed(), 100.0
    for i, piece in enumerate(pieces):
        hold.feed(piece, now_s, end=i == len(pieces) - 1)
        while hold.due_s <= now_s:
            body: BodyText = hold.take()
            texts = [passage.text for passage in body.passages]
            passed.judged += texts
            if any(verdict.flagged for verdict in gate.check_many(texts)):
                passed.ending = hold.stop(code="blocked", reason=REASON)
                return passed
            passed.pieces.append(hold.clear(now_s))
            if hold.ended:
                assert hold.n_released == hold.n_bytes
                return passed
        now_s += tick_s
    return passed


def _cut(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(body[at : at + cut])
        at += cut
    return [*pieces, body[at:]]


@pytest.mark.parametrize("name", STREAMS)
@given(n_words=st.integers(1, 40), cuts=st.lists(st.integers(0, 200), max_size=60))
@settings(deadline=None, max_examples=8)
def test_a_harmless_stream_arrives_byte_for_byte_however_it_is_cut(
    spotting: Gate, name: str, n_words: int, cuts: list[int]
) -> None:
    kind, events = STREAMS[name](["good "] * n_words)
    body = b"".join(events)
    passed = _send(spotting, kind, _cut(body, cuts))
    assert passed.ending is None
    assert passed.released == body


@pytest.mark.parametrize("name", STREAMS)
@given(
    before=st.integers(0, 25),
    after=st.integers(0, 25),
    cuts=st.lists(st.integers(0, 300), max_size=60),
)
@settings(deadline=None, max_examples=8)
def test_nothing_unsafe_of_a_stream_is_released(
    spotting: Gate, name: str, before: int, after: int, cuts: list[int]
) -> None:
    # The word is cut across events.
    words = ["good "] * before + ["mor", "ning "] + ["good "] * after
    kind, events = STREAMS[name](words)
    body = b"".join(events)
    passed = _send(spotting, kind, _cut(body, cuts))
    assert passed.ending is not None
    assert body.startswith(passed.released)
    assert passed.released != body
    if name != "tool call":
        # It ends before the event that ends the word.
        bad = next(i for i, event in enumerate(events) if b"ning " in event)
        most = len(b"".join(events[:bad])) + (3 if name == "plain" else 0)
        assert len(passed.released) <= most


@pytest.mark.parametrize("name", [name for name in STREAMS if name != "tool call"])
def test_what_is_judged_of_a_stream_is_what_its_whole_says(spotting: Gate, name: str) -> None:
    words = [f"good day{i} " for i in range(40)]
    kind, events = STREAMS[name](words)
    passed = _send(spotting, kind, events)
    read = read_body({"content-type": kind}, b"".join(events), "response")
    (whole,) = {passage.text for passage in read.passages if "day39" in passage.text}
    covered = bytearray(len(whole))
    for text in passed.judged:
        at = whole.find(text)
        while at >= 0:
            covered[at : at + len(text)] = b"\x01" * len(text)
            at = whole.find(text, at + 1)
    assert 0 not in covered


def test_a_word_is_released_once_it_was_judged_and_not_before(spotting: Gate) -> None:
    kind, events = _chat(["good "] * 12)
    hold = HoldBack(
        headers={"content-type": kind},
        side="response",
        tokenizer=spotting.level1.tokenizer,
        limits=LIMITS,
    )
    hold.feed(b"".join(events[:3]), 0.0)
    assert hold.due_s == LIMITS.hold_s
    hold.feed(b"".join(events[3:7]), 0.5)
    assert hold.due_s < 0
    # Until it is judged, nothing goes; what comes meanwhile waits for the next time.
    taken = hold.take()
    hold.feed(events[7], 0.6)
    assert hold.clear(0.7) == b"".join(events[:7])
    assert [passage.text for passage in taken.passages] == ["good " * 6]
    assert hold.due_s == pytest.approx(0.6 + LIMITS.hold_s)
    assert hold.delays_s == pytest.approx([0.7, 0.2])


def test_half_an_event_is_never_released(spotting: Gate) -> None:
    kind, events = _chat(["good "] * 2)
    hold = HoldBack(
        headers={"content-type": kind},
        side="response",
        tokenizer=spotting.level1.tokenizer,
        limits=LIMITS,
    )
    hold.feed(events[0] + events[1] + events[2][:20], 0.0)
    hold.take()
    assert hold.clear(0.0) == events[0] + events[1]


def test_a_body_that_is_no_stream_is_held_until_its_end(spotting: Gate) -> None:
    answer = json.dumps({"choices": [{"message": {"content": "good world"}}]}, indent=1).encode()
    passed = _send(spotting, "application/json", _cut(answer, [7] * 9))
    assert passed.released == b""
    assert passed.ending is not None
    assert json.loads(passed.ending)["error"] == {"code": "blocked", "message": REASON}


def test_a_request_is_held_until_its_end_whatever_its_form(spotting: Gate) -> None:
    hold = HoldBack(
        headers={"content-type": "application/x-ndjson"},
        side="request",
        tokenizer=spotting.level1.tokenizer,
        limits=LIMITS,
    )
    hold.feed(b'{"text": "good"}\n{"text": "good"}\n' * 9, 0.0)
    assert hold.due_s == float("inf")
    hold.feed(b"", 9.0, end=True)
    assert [passage.text for passage in hold.take().passages]
    assert len(hold.clear(9.0)) == hold.n_bytes


def test_an_event_that_never_ends_is_unreadable(spotting: Gate) -> None:
    with pytest.raises(InputError, match="100000 bytes wait"):
        _send(spotting, "text/event-stream", [b"data: " + b"a" * 60_000, b"a" * 60_000, b""])


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("text/event-stream", b"data: {broken\n\n", "cannot be read"),
        ("text/event-stream", b"data: \xff\n\n", "not UTF-8"),
        ("application/x-ndjson", b'{"a": 1, "a": 2}\n', "same key twice"),
        ("text/event-stream; charset=utf-16", b"data: {}\n\n", "charset"),
        ("application/vnd.amazon.eventstream", b"\x00\x00", "binary"),
        ("application/json", b'[{"a": "b"}, "good morning"]', "other than objects"),
        ("application/json", b'[{"a": "b"}] good', "goes on behind"),
        ("application/json", b'[{"a": "b"}', "does not end"),
        ("text/plain", b"good \xff", "not UTF-8"),
    ],
)
def test_a_stream_that_cannot_be_read_is_an_error(
    spotting: Gate, kind: str, body: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _send(spotting, kind, [body[:5], body[5:], b""])


def test_an_image_in_a_stream_is_handed_out_as_unread(spotting: Gate) -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "AAAA"}}
    events = [{"type": "content_block_start", "index": 0, "content_block": image}]
    hold = HoldBack(
        headers={"content-type": "text/event-stream"},
        side="response",
        tokenizer=spotting.level1.tokenizer,
        limits=LIMITS,
    )
    hold.feed(b"".join(_sse(events, named=True)), 0.0)
    assert [part.kind for part in hold.take().unread] == ["image"]


def _parsers() -> Iterator[tuple[Callable[[], StreamParser], bytes]]:
    yield EventParser, b": x\r\n\r\n" + b"".join(_sse([{"a": "\u2028"}, {"b": 1}]))
    yield LineParser, b'{"a": 1}\r\n\n{"b": "\xc3\xa9"}\n{"c": 3}'
    yield ArrayParser, b' [ {"a": "}]\\"{\\\\"},\n{"b": [{"c": []}]} ] \n'


@pytest.mark.parametrize(("make", "body"), list(_parsers()), ids=["events", "lines", "array"])
@given(cuts=st.lists(st.integers(0, 6), max_size=40))
@settings(deadline=None)
def test_whole_events_are_counted_in_bytes_wherever_a_stream_is_cut(
    make: Callable[[], StreamParser], body: bytes, cuts: list[int]
) -> None:
    whole = list(make().feed(body, end=True))
    parser, found, at = make(), list[str](), 0
    pieces = _cut(body, cuts)
    for i, piece in enumerate(pieces):
        found += parser.feed(piece, end=i == len(pieces) - 1)
        at += len(piece)
        assert parser.n_done <= at
        # What is done can be read by itself, and holds all events so far.
        if make is not ArrayParser:
            assert list(make().feed(body[: parser.n_done], end=True)) == found
    assert found == whole
    assert parser.n_done == len(body)


def _last_event(ending: bytes) -> dict[str, Any]:
    data = [line for line in ending.decode().split("\n") if line.startswith("data: {")]
    parsed = json.loads(data[-1].removeprefix("data: "))
    assert isinstance(parsed, dict)
    return parsed


def _ended(gate: Gate, name: str) -> tuple[bytes, bytes]:
    kind, events = STREAMS[name](["good "] * 9 + [f"{BAD} ", "good "])
    passed = _send(gate, kind, events)
    assert passed.ending is not None
    assert passed.released
    return passed.released, passed.ending


def test_openais_streams_end_with_a_finish_reason_and_a_refusal(spotting: Gate) -> None:
    _, ending = _ended(spotting, "chat")
    assert ending.endswith(b"data: [DONE]\n\n")
    chunk = _last_event(ending)
    (choice,) = chunk["choices"]
    assert (chunk["id"], chunk["model"], choice["index"]) == ("c-1", "m", 0)
    assert choice["finish_reason"] == "content_filter"
    assert choice["delta"] == {"refusal": REASON}
    _, ending = _ended(spotting, "two choices")
    assert [choice["index"] for choice in _last_event(ending)["choices"]] == [0, 1]


def test_other_streams_of_events_end_in_the_words_of_their_api(spotting: Gate) -> None:
    _, ending = _ended(spotting, "anthropic")
    assert ending.startswith(b"event: error\n")
    assert _last_event(ending)["error"] == {"type": "invalid_request_error", "message": REASON}
    _, ending = _ended(spotting, "responses")
    assert ending.startswith(b"event: error\n")
    last = _last_event(ending)
    assert (last["type"], last["code"], last["message"]) == ("error", "blocked", REASON)
    assert type(last["sequence_number"]) is int
    _, ending = _ended(spotting, "gemini")
    assert _last_event(ending)["candidates"][0]["finishReason"] == "SAFETY"
    _, ending = _ended(spotting, "cohere")
    assert _last_event(ending)["delta"] == {"finish_reason": "ERROR", "error": REASON}


def test_streams_without_events_end_in_their_own_form(spotting: Gate) -> None:
    released, ending = _ended(spotting, "gemini array")
    *_, last = json.loads(released + ending)
    assert last["candidates"][0]["finishMessage"] == REASON
    for name in ("ollama", "lines without type"):
        released, ending = _ended(spotting, name)
        assert released.endswith(b"\n")
        assert json.loads(ending) == {"error": REASON}
    assert _ended(spotting, "plain")[1] == b""


def test_the_end_of_a_stream_repeats_nothing_that_was_held_back(spotting: Gate) -> None:
    event = {
        "id": f"{BAD} {BAD} good",
        "model": f"the {BAD} model",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": "good"}}],
    }
    passed = _send(spotting, "text/event-stream", [*_sse([event]), b""])
    assert passed.ending is not None
    assert BAD.encode() not in passed.ending
    assert passed.released == b""


def test_what_a_stream_repeats_at_its_end_is_read_once(spotting: Gate) -> None:
    words = [f"good day{i} " for i in range(60)]
    kind, events = _responses(words)
    passed = _send(spotting, kind, events)
    assert passed.released == b"".join(events)
    n_tokens = sum(len(text.split()) for text in passed.judged)
    # Windows of six words overlap; the text itself has 120 words.
    assert n_tokens < 5 * 120
