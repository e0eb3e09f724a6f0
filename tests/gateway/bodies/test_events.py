"""Streams are parsed by their standard, and the pieces of each growing text are joined."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.errors import InputError
from hazgate.serving.bodies.events import EventParser, events_of
from hazgate.serving.bodies.read import read_body

SSE = {"content-type": "text/event-stream"}


def _texts(body: bytes, headers: dict[str, str] | None = None) -> list[str]:
    read = read_body(SSE if headers is None else headers, body, "response")
    return [passage.text for passage in read.passages]


def _chat(*pieces: str, index: int = 0) -> list[dict[str, object]]:
    return [{"choices": [{"index": index, "delta": {"content": piece}}]} for piece in pieces]


def _sse(events: list[dict[str, object]], end: str = "\n") -> bytes:
    lines = [f"data: {json.dumps(event, ensure_ascii=False)}{end}{end}" for event in events]
    return "".join(lines).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_with_any_of_the_three_ends(end: str) -> None:
    assert _texts(_sse(_chat("How ", "are you"), end)) == ["How are you"]


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_other_separators_are_characters_of_a_string(inside: str) -> None:
    data = json.dumps({"choices": [{"index": 0, "delta": {"content": f"a{inside}b"}}]})
    raw = data.replace(json.dumps(inside)[1:-1], inside) if ord(inside) > 31 else data
    assert _texts(f"data: {raw}\n\n".encode()) == [f"a{inside}b"]


@given(st.text(min_size=1, max_size=40), st.lists(st.integers(1, 9), max_size=20))
def test_a_stream_cut_anywhere_gives_the_same_events(text: str, cuts: list[int]) -> None:
    body = b": keep-alive\r\n\r\nevent: x\nid: 7\n" + _sse(_chat(text)) + b"data: a\rdata: b\r\r"
    parser, found, i = EventParser(), [], 0
    for cut in cuts:
        found += list(parser.feed(body[i : i + cut]))
        i += cut
    found += list(parser.feed(body[i:], end=True))
    assert found == list(EventParser().feed(body, end=True))
    assert found[-1] == "a\nb"


def test_comments_names_and_a_byte_order_mark_come_before_the_first_event() -> None:
    body = b"\xef\xbb\xbf: PROCESSING\n\nevent: a\nretry: 5\n" + _sse(_chat("hello there"))
    assert _texts(body) == ["hello there"]


def test_choices_and_blocks_grow_apart() -> None:
    events: list[dict[str, object]] = [
        *_chat("a ", index=0),
        *_chat("x ", index=1),
        *_chat("b", index=0),
        *_chat("y", index=1),
    ]
    assert _texts(_sse(events)) == ["a b", "x y"]


def test_anthropics_blocks_are_joined_by_index_and_partial_json_is_decoded() -> None:
    def delta(index: int, **fields: str) -> dict[str, object]:
        return {"type": "content_block_delta", "index": index, "delta": fields}

    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {"role": "assistant", "content": [], "model": "c"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        delta(0, type="text_delta", text="The cap"),
        delta(1, type="input_json_delta", partial_json='{"q": "\\u0077h'),
        delta(0, type="text_delta", text="ital of France"),
        delta(1, type="input_json_delta", partial_json='at is it"}'),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]
    texts = _texts(_sse(events))
    assert "The capital of France" in texts
    assert "what is it" in texts


def test_what_responses_repeat_at_their_end_is_read_once() -> None:
    item = {"item_id": "m_1", "output_index": 0, "content_index": 0}
    events: list[dict[str, object]] = [
        {"type": "response.output_text.delta", **item, "delta": "How are "},
        {"type": "response.output_text.delta", **item, "delta": "you today"},
        {"type": "response.output_text.done", **item, "text": "How are you today"},
        {
            "type": "response.completed",
            "response": {
                "output": [
                    {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "How are you today"}],
                    }
                ]
            },
        },
    ]
    assert _texts(_sse(events)) == ["How are you today"]


def test_lines_of_json_are_joined_with_or_without_their_content_type() -> None:
    lines = b"".join(
        json.dumps({"message": {"role": "assistant", "content": piece}, "done": False}).encode()
        + b"\n"
        for piece in ("How ", "are ", "you")
    )
    assert _texts(lines, {"content-type": "application/x-ndjson"}) == ["How are you"]
    assert _texts(lines, {}) == ["How are you"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"data: {broken\n\n", "cannot be read"),
        (b'data: {}\n\ndata: {"a": 1, "a": 2}\n\n', "same key twice"),
        (b"nothing: 7\n\n", "no field"),
        (b"data: \xff\n\n", "not UTF-8"),
    ],
)
def test_an_event_that_cannot_be_parsed_makes_the_stream_unreadable(body: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_body(SSE, body, "response")


def test_a_last_event_without_its_blank_line_is_an_event() -> None:
    assert events_of(b"data: {}") == ([{}], [])


def test_a_binary_event_stream_is_refused() -> None:
    headers = {"content-type": "application/vnd.amazon.eventstream"}
    with pytest.raises(InputError, match="binary stream"):
        read_body(headers, b"\x00\x00\x00\x10", "response")


def test_reading_a_stream_takes_time_in_proportion_to_its_length() -> None:
    """Counted in calls, not in seconds: each event is parsed once, each piece joined once."""
    short, long = _sse(_chat(*["a "] * 100)), _sse(_chat(*["a "] * 10_000))
    assert len(events_of(long)[0]) == 100 * len(events_of(short)[0])
    assert _texts(long) == ["a " * 10_000]


def test_a_name_that_every_event_repeats_is_read_once() -> None:
    events: list[dict[str, object]] = [
        {"vendor": "some vendor of models", **event} for event in _chat("a", "b")
    ]
    assert sorted(_texts(_sse(events))) == ["ab", "some vendor of models", "vendor"]
