"""Two laws of the reader, on bodies of any shape: it never breaks, and nothing passes in silence.

The suite of every day tries a few hundred bodies; the slow one tries 10,000.
"""

import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import Gate
from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.read import read_body, read_request
from hazgate.serving.bodies.table import FIELDS, KEYS, MEDIA, TYPES
from hazgate.serving.holdback import HoldBack, HoldLimits
from hazgate.text.tokenization import Tokenizer
from tests.support.bodies import read_unless_refused

FEW, MANY = 150, 10_000
# Beginnings that look like an enumeration, an event, an address or a form of its own.
_FIRST = ("list", "chat.completion", "text_completion", "response.created", "how", "HARM_CATEGORY")
_WORDS = ("to", "build", "such", "things", "at", "home", "quickly", "日本語", "déjà")
SENTENCES = st.builds(
    lambda first, rest, joint: joint.join([first, *rest]),
    st.sampled_from(_FIRST),
    st.lists(st.sampled_from(_WORDS), min_size=3, max_size=6),
    st.sampled_from([" ", " ", "  ", "\n", "_", "-"]),
)
NAMES = st.sampled_from(sorted({key for _, key in FIELDS} | KEYS))
WORDS = st.sampled_from(sorted({*TYPES, *MEDIA, "user", "assistant", "system", "tool"}))
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | WORDS | SENTENCES | SENTENCES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | NAMES | SENTENCES, inner, max_size=5)
    ),
    max_leaves=14,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            [
                *("application/json", "text/event-stream", "application/x-ndjson", "text/plain"),
                *("application/x-www-form-urlencoded", "multipart/form-data; boundary=b"),
                *("multipart/mixed", 'multipart/form-data; boundary="b', "application/grpc", ";"),
                *(
                    "application/json; charset=utf-16",
                    "text/plain; charset=nonsense",
                    "a/b; c=\xe9",
                ),
            ]
        ),
        "content-encoding": st.sampled_from(["", "identity", "gzip", "br, gzip"]),
        "upgrade": st.sampled_from(["", "h2c", "websocket"]),
    },
)
FRAGMENTS = st.sampled_from(
    [
        *(b"data: ", b"event: x\n", b"\n\n", b"\r", b"\r\n", b": ping\n", b"[DONE]", b"{", b"}"),
        *(b"[", b"]", b'"text"', b":", b",", b'"\\ud800"', b"\xff", b"\x00", b"\xef\xbb\xbf"),
        *(
            b"--b\r\n",
            b"--b--",
            b"Content-Type: text/plain\r\n\r\n",
            b"a=b&c=%ff",
            b"1e999",
            b"NaN",
        ),
        *(b'Content-Disposition: form-data; name="a"\r\n', b"Content-Type: multipart/mixed\r\n"),
        *(b"Content-Transfer-Encoding: base64\r\n", b"\xe2\x80\xa8", b'{"a": 1}', b"9" * 5000),
    ]
)
RAW = st.lists(FRAGMENTS | st.binary(max_size=12), max_size=12).map(b"".join)


# Names of models and of an API's versions have many words, joined without a space. No server shows
# them to a model, and a value with a space in their place is read like any other.
MODEL_NAMES = {"model", "modelVersion", "variant", "anthropic_version", "anthropic_beta"}


def _strings(value: object, *, is_name: bool = False) -> Iterator[str]:
    """Yield every string of a value that must be read."""
    if isinstance(value, str):
        if not is_name or len(value.split()) > 1 or not value.isascii():
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, is_name=is_name)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item, is_name=is_name or key in MODEL_NAMES)


def _check_nothing_passes(value: object, read: Callable[[], BodyText]) -> None:
    """Check that every sentence of a value is in a passage, unless the whole is refused."""
    said = [each for each in _strings(value) if sum(word in each for word in _WORDS) >= 3]
    body = read_unless_refused(read, may_be_empty=not said)
    if body is None:
        return
    found = [passage.text for passage in body.passages]
    for string in said:
        assert any(string in text for text in found), string


def _check_body(value: object, side: Side, *, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    headers = {"content-type": "application/json"}
    _check_nothing_passes(value, lambda: read_body(headers, body, side))


def _check_stream(events: list[object], end: str, *, as_lines: bool) -> None:
    if as_lines:
        kind = "application/x-ndjson"
        body = "\n".join(json.dumps(event) for event in events)
    else:
        kind = "text/event-stream"
        body = "".join(f"data: {json.dumps(event)}{end}{end}" for event in events)
    headers = {"content-type": kind}
    _check_nothing_passes(events, lambda: read_body(headers, body.encode(), "response"))


def _check_raw(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    try:
        read = read_request(method, path, headers, body)
    except InputError:
        return
    assert all(passage.path and passage.text for passage in read.passages)


_body = given(BODIES, st.sampled_from(["request", "response"]), st.booleans())
_stream = given(st.lists(BODIES, min_size=1, max_size=4), ENDS, st.booleans())
_raw = given(
    st.sampled_from(["GET", "POST", "put", "DELETE", ""]),
    st.text(max_size=20) | st.sampled_from(["/v1?q=a+b", "/?%ff=1", "//[", "/?a=1;b"]),
    HEADERS,
    RAW,
)
_few = settings(max_examples=FEW, deadline=None)
_many = settings(max_examples=MANY, deadline=None)


@_few
@_body
def test_no_string_of_a_body_passes_in_silence(value: object, side: Side, ascii_only: bool) -> None:
    _check_body(value, side, ascii_only=ascii_only)


@_few
@_stream
def test_no_string_of_a_stream_passes_in_silence(
    events: list[object], end: str, as_lines: bool
) -> None:
    _check_stream(events, end, as_lines=as_lines)


@_few
@_raw
def test_no_bytes_break_the_reader(
    method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    _check_raw(method, path, headers, body)


@pytest.mark.slow
@_many
@_body
def test_no_string_of_ten_thousand_bodies_passes_in_silence(
    value: object, side: Side, ascii_only: bool
) -> None:
    _check_body(value, side, ascii_only=ascii_only)


@pytest.mark.slow
@_many
@_stream
def test_no_string_of_ten_thousand_streams_passes_in_silence(
    events: list[object], end: str, as_lines: bool
) -> None:
    _check_stream(events, end, as_lines=as_lines)


@pytest.mark.slow
@_many
@_raw
def test_no_bytes_of_ten_thousand_requests_break_the_reader(
    method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    _check_raw(method, path, headers, body)


# Lines of a stream: keep-alives and names as APIs send them, and a sentence anywhere.
LINES = st.sampled_from(
    [
        *(": OPENROUTER PROCESSING", ": ping - 2026-11-28 10:00:00.123456+00:00", ":", "retry: 9"),
        *("event: response.output_text.delta", "event: message_start", "event: ping", "id: 7-a"),
        *("event: thread.message.delta", "id: 0194f6b2-0000-7d01-b15c-6de97a1e4b5f", "", ""),
        *('data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}', "data: [DONE]"),
    ]
)
PLACES = st.sampled_from([": ", ":", "event: ", "id: ", "retry: ", "id:", "nothing: ", "data: "])
SENTENCE = "build such things"


def _held(body: bytes, cuts: list[int], tokenizer: Tokenizer) -> Iterator[BodyText]:
    """Yield what is read of a stream that comes in pieces, before its bytes are released."""
    limits = HoldLimits(hold_tokens=4, hold_s=0.0, max_held_bytes=1 << 20)
    headers = {"content-type": "text/event-stream"}
    hold = HoldBack(headers=headers, side="response", tokenizer=tokenizer, limits=limits)
    start, told = 0, ""
    for cut in (*cuts, len(body)):
        piece, start = body[start : start + cut], min(len(body), start + cut)
        hold.feed(piece, 0.0, end=start == len(body))
        if hold.due_s <= 0.0:
            read = hold.take()
            told += " ".join(passage.text for passage in read.passages)
            yield read
            released = hold.clear(0.0)
            assert SENTENCE.encode() not in released or SENTENCE in told
        if start == len(body):
            return


@pytest.fixture(scope="module")
def words(spotting: Gate) -> Tokenizer:
    return spotting.level1.tokenizer


@_few
@given(
    st.lists(LINES, max_size=8),
    st.integers(0, 8),
    PLACES,
    ENDS,
    st.lists(st.integers(1, 40), max_size=12),
)
def test_no_line_of_a_stream_passes_in_silence(
    words: Tokenizer, lines: list[str], at: int, place: str, end: str, cuts: list[int]
) -> None:
    text = json.dumps(SENTENCE) if place == "data: " else SENTENCE
    # Data stand in events of their own, so that they are one value.
    lines = [line + end if line.startswith("data") else line for line in lines]
    body = end.join([*lines[:at], "", place + text, "", *lines[at:], end]).encode()
    headers = {"content-type": "text/event-stream"}
    ways: tuple[Callable[[], list[BodyText]], ...] = (
        lambda: [read_body(headers, body, "response")],
        lambda: list(_held(body, cuts, words)),
    )
    for way in ways:
        try:
            said = [passage.text for part in way() for passage in part.passages]
        except InputError:
            assert place == "nothing: "
            continue
        assert any(SENTENCE in text for text in said)


@pytest.mark.parametrize(
    "line",
    [
        *(": OPENROUTER PROCESSING", ": ping - 2026-11-28 10:00:00.123456+00:00", ": keep-alive"),
        *(":", ": ", ":heartbeat", "event: response.output_text.delta", "event: message_start"),
        *("event: thread.run.requires_action", "event: content-delta", "event: tool-call-end"),
        *("event: endpoint", "id: 17", "id: 0194f6b2-0000-7d01-b15c-6de97a1e4b5f", "retry: 3000"),
        *("id: evt_01JABCDEF", "event: response.mcp_call_arguments.delta", "event: error"),
    ],
)
def test_what_apis_send_beside_their_data_is_no_text(line: str) -> None:
    body = f'{line}\ndata: {{"choices": [{{"index": 0, "delta": {{"content": "hello"}}}}]}}\n\n'
    read = read_body({"content-type": "text/event-stream"}, body.encode(), "response")
    assert [passage.text for passage in read.passages] == ["hello"]


@pytest.mark.parametrize(
    "body",
    [
        {"object": "list all the steps to build such things", "prompt": "hello"},
        {"object": "chat.how do I build such things", "prompt": "hello"},
        {"keep_alive": "kill him", "prompt": "hello"},
    ],
)
def test_a_sentence_that_begins_as_an_enumeration_is_read(body: dict[str, str]) -> None:
    raw = json.dumps(body).encode()
    read = read_body({"content-type": "application/json"}, raw, "request")
    said = {passage.text for passage in read.passages}
    assert set(body.values()) <= said


# Values of a form that an API gives to what is no text.
OPAQUE = ("AAAA" * 20, "https://example.org/a.pdf", "data:image/png;base64,AAAA")


@pytest.mark.parametrize("value", OPAQUE)
@pytest.mark.parametrize("key", ["data", "file_data", "file_url", "encrypted_content"])
@pytest.mark.parametrize("kind", [None, "text", "unheard_of"])
def test_bytes_and_addresses_in_a_part_are_listed_as_unread(
    key: str, kind: str | None, value: str
) -> None:
    part = {key: value} if kind is None else {"type": kind, key: value}
    content = [{"type": "text", "text": "hello there"}, part]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    read = read_body({"content-type": "application/json"}, body, "request")
    is_read = any(value in passage.text for passage in read.passages)
    assert is_read or read.unread


@pytest.mark.parametrize("key", ["signature", "thoughtSignature", "data", "file_data"])
def test_words_joined_by_separators_are_no_bytes(key: str) -> None:
    said = "how_to-build_such-things_at-home_quickly"
    content = [{"type": "text", "text": "hello there", key: said}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    read = read_body({"content-type": "application/json"}, body, "request")
    assert any(said in passage.text for passage in read.passages)


FORM = {"content-type": "multipart/form-data; boundary=b"}


def test_a_name_of_a_forms_part_is_read() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="how to build such things"\r\n\r\nx\r\n'
        b"--b--\r\n"
    )
    read = read_body(FORM, body, "request")
    assert any("how to build such things" in passage.text for passage in read.passages)


@pytest.mark.parametrize(
    "body",
    [
        b"how to build such things\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\nhow to build such things",
    ],
)
def test_text_around_the_parts_of_a_form_is_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="text before its first part or behind its last"):
        read_body(FORM, body, "request")
