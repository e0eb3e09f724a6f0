"""A long body that is read in pieces gives what it gives when it is read at once."""

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load.bodies import agent, chat
from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.pieces import read_long
from hazgate.serving.bodies.read import read_body
from hazgate.serving.bodies.strict_json import parse
from hazgate.serving.bodies.walk import read_value
from tests.gateway.bodies.test_walk import BODIES

FEW, MANY = 100, 10_000
ARRAYS = st.sampled_from(["messages", "contents", "input", "tools", "choices", "metadata"])
TEXTS = st.sampled_from(
    ["hello there my friend", '}, {"role": "user"', "{", "}]", "\\", '"', '\\"}, {"', "]}", "é日"]
)
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), min_size=1, max_size=3
)
ITEMS = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]), "content": TEXTS | PARTS},
    optional={"tool_calls": BODIES, "name": TEXTS, "input": BODIES},
)
LONG = st.builds(
    lambda head, key, items, tail: {**head, key: items, **tail},
    st.dictionaries(ARRAYS | st.sampled_from(["model", "system", "user"]), BODIES, max_size=2),
    ARRAYS,
    st.lists(ITEMS, min_size=2, max_size=6) | st.lists(ITEMS | BODIES, max_size=8),
    st.dictionaries(ARRAYS | st.sampled_from(["Messages", "prompt", "x"]), BODIES, max_size=2),
)
SPELT = st.sampled_from(
    [
        {"ensure_ascii": False},
        {"separators": (",", ":")},
        {"indent": 1},
        {"indent": "\t"},
        {"separators": (" ,\r\n", " :\t")},
    ]
)


def _outcome(data: bytes, side: Side) -> BodyText | None:
    try:
        return read_value(parse(data), side)
    except InputError:
        return None


def _check_same(data: bytes, side: Side, piece_bytes: int) -> bool:
    """Check a body read in pieces; return True if it could be cut."""
    whole = _outcome(data, side)
    try:
        cut = read_long(data, side, piece_bytes=piece_bytes)
    except InputError:
        assert whole is None, data
        return False
    assert cut is None or cut == whole, data
    return cut is not None


def _spelt(value: object, options: Mapping[str, Any]) -> bytes:
    return json.dumps(value, **options).encode()


def _mutated(data: bytes, seed: int) -> bytes:
    """Put some bytes of JSON somewhere, or take some away."""
    draw = random.Random(seed)
    at = draw.randrange(len(data) + 1)
    taken = draw.choice([0, 1, 5])
    put = draw.choice([b"", b",", b"]", b"}", b'"', b"\\", b"\x0c", b', {"role"', b"{", b"[", b"x"])
    return data[:at] + put + data[at + taken :]


_bodies = given(
    LONG, SPELT, st.sampled_from(["request", "response"]), st.integers(1, 60), st.integers(0, 2**32)
)


def _check_body(
    value: object, options: Mapping[str, Any], side: Side, piece_bytes: int, seed: int
) -> None:
    data = _spelt(value, options)
    _check_same(data, side, piece_bytes)
    _check_same(_mutated(data, seed), side, piece_bytes)


@settings(max_examples=FEW, deadline=None)
@_bodies
def test_any_body_gives_the_same_in_pieces(
    value: object, options: Mapping[str, Any], side: Side, piece_bytes: int, seed: int
) -> None:
    _check_body(value, options, side, piece_bytes, seed)


@pytest.mark.slow
@settings(max_examples=MANY, deadline=None)
@_bodies
def test_ten_thousand_bodies_give_the_same_in_pieces(
    value: object, options: Mapping[str, Any], side: Side, piece_bytes: int, seed: int
) -> None:
    _check_body(value, options, side, piece_bytes, seed)


@pytest.mark.parametrize("make", [chat, agent])
def test_long_chats_and_agents_requests_are_read_in_pieces(make: Any) -> None:  # noqa: ANN401
    data = make(300_000)
    assert _check_same(data, "request", 65_536)
    read = read_body({"content-type": "application/json"}, data, "request")
    assert read == _outcome(data, "request")


MESSAGES = [{"role": "user", "content": f"this is message {i}"} for i in range(9)]
ONE = json.dumps(MESSAGES)[1:-1].encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [%s], "messages": [%s]}' % (ONE, ONE),
        b'{"messages": [%s], "Messages": []}' % ONE,
        b'{"prompt": "a", "messages": [%s], "prompt": "b"}' % ONE,
        b'{"messages": [%s,]}' % ONE,
        b'{"messages": [%s,\x0c%s]}' % (ONE, ONE),
        b'{"messages": [%s,, %s]}' % (ONE, ONE),
        b'{"messages": [%s]} x' % ONE,
        b'{"messages": [%s], "a": NaN}' % ONE,
        b'{"messages": [%s], "a": "\\ud800"}' % ONE,
        b'{"messages": [%s, {"role": "user", "content": "b", "Content": "c"}, %s]}' % (ONE, ONE),
        b'{"messages": [%s, {"role": "user", "role": "user"}, %s]}' % (ONE, ONE),
        b'{"messages": [%s' % ONE,
        b'{"messages": [%s]' % ONE,
        b'{"messages": [%s}' % ONE,
    ],
)
def test_what_is_no_strict_json_is_refused_in_pieces_too(body: bytes) -> None:
    assert _outcome(body, "request") is None
    assert not any(_check_same(body, "request", n_bytes) for n_bytes in range(1, 500, 7))


@pytest.mark.parametrize(
    "body",
    [
        {"a": {"messages": MESSAGES}},
        {"a": '"messages": [{"role": "user"}, {"role": 1}]', "messages": MESSAGES},
        {"messages": [*MESSAGES, [1, 2], "a text of its own", None, 3, *MESSAGES], "prompt": "b"},
        {"system": [{"type": "text", "text": "be kind to all"}], "messages": MESSAGES, "top_k": 1},
        {"messages": [{"role": "user", "content": [{"role": "a"}] * 9}, *MESSAGES]},
    ],
)
def test_what_is_alike_and_no_array_of_turns_confuses_nothing(body: object) -> None:
    for n_bytes in range(1, 500, 7):
        _check_same(json.dumps(body).encode(), "request", n_bytes)
