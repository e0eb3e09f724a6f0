"""Every string of a body is read, whatever stands around it."""

import json
from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.errors import InputError
from hazgate.judging.speech import Side
from hazgate.serving.bodies.fields import Place
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.read import read_body
from hazgate.serving.bodies.table import APIS, FIELDS, KEYS, MEDIA, TYPES, fields_at
from tests.support.bodies import read_unless_refused

MARK = "the quick brown fox 17 jumps"
JSON_TYPE = {"content-type": "application/json"}
NAMES = st.sampled_from(sorted({key for _, key in FIELDS} | KEYS))
TYPE_WORDS = st.sampled_from(sorted({*TYPES, *MEDIA, "user", "assistant", "system", "tool"}))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(alphabet="abc déf日 \u2028\n", max_size=30)
    | TYPE_WORDS
)
BODIES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(min_size=1, max_size=6), inner, max_size=5)
    ),
    max_leaves=14,
)


def _with_mark(value: object, data: st.DataObject) -> object:
    """Put MARK in the place of some value, and sometimes of a key."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: _with_mark(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        i = data.draw(st.integers(0, len(value) - 1))
        return [*value[:i], _with_mark(value[i], data), *value[i + 1 :]]
    if isinstance(value, dict) and data.draw(st.booleans()):
        return {**value, MARK: 1}
    return MARK


def _read(value: object, side: Side = "request") -> BodyText:
    return read_body(JSON_TYPE, json.dumps(value).encode(), side)


@settings(max_examples=600, deadline=None)
@given(BODIES, st.data(), st.sampled_from(["request", "response"]), st.booleans())
def test_a_string_anywhere_in_any_body_is_read(
    value: object, data: st.DataObject, side: Side, ascii_only: bool
) -> None:
    body = json.dumps(_with_mark(value, data), ensure_ascii=ascii_only).encode()
    read = read_unless_refused(lambda: read_body(JSON_TYPE, body, side))
    assert read is None or any(MARK in passage.text for passage in read.passages)


@settings(max_examples=300, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=4), st.data(), st.integers(0, 3))
def test_a_string_anywhere_in_any_event_of_a_stream_is_read(
    events: list[object], data: st.DataObject, place: int
) -> None:
    i = place % len(events)
    events[i] = _with_mark(events[i], data)
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    kind = {"content-type": "text/event-stream"}
    read = read_unless_refused(lambda: read_body(kind, body, "response"))
    assert read is None or any(MARK in passage.text for passage in read.passages)


@pytest.mark.parametrize("key", sorted({key for _, key in FIELDS}))
def test_no_known_field_hides_a_sentence(key: str) -> None:
    for value in (
        {key: MARK},
        {"messages": [{"role": "user", key: MARK}]},
        {"messages": [{"role": "user", "content": [{key: MARK}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", key: MARK}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{key: MARK}]}]},
        {"tools": [{key: MARK}]},
        {"choices": [{key: MARK}]},
        {"metadata": {key: MARK}},
    ):
        assert any(MARK in passage.text for passage in _read(value).passages)


WORDED_ID = "how_to_hack_into_an_account"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "tool", "tool_call_id": WORDED_ID, "content": "ok"}]},
        {"messages": [{"role": WORDED_ID, "content": "ok"}]},
        {"messages": [{"role": "user", "content": [{"type": WORDED_ID, "text": "ok"}]}]},
        {"reasoning_effort": WORDED_ID, "prompt": "ok"},
        {"tools": [{"type": WORDED_ID}]},
    ],
)
def test_words_in_the_place_of_an_identifier_are_read(body: Mapping[str, object]) -> None:
    assert any(WORDED_ID in passage.text for passage in _read(body).passages)


def _texts(value: object, side: Side = "request") -> list[tuple[str, str]]:
    return [(passage.role, passage.text) for passage in _read(value, side).passages]


def test_turns_stay_apart_and_the_parts_of_one_turn_are_one_text() -> None:
    body = {
        "messages": [
            {"role": "developer", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "assistant", "content": "c"},
        ]
    }
    assert _texts(body) == [("system", "be brief"), ("user", "a\nb"), ("assistant", "c")]


def test_arguments_are_read_decoded_whether_they_are_an_object_or_a_string_of_json() -> None:
    call = {"name": "f", "arguments": {"q": "what is it then"}}
    spelt = {"name": "f", "arguments": '{"q": "\\u0077hat is it then"}'}
    for function in (call, spelt):
        body = {"messages": [{"role": "assistant", "tool_calls": [{"function": function}]}]}
        assert ("assistant", "what is it then") in _texts(body)


def test_equal_keys_within_arguments_are_all_read() -> None:
    arguments = '{"q": "\\u0077hat is it", "q": "and that one too"}'
    body = {
        "messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": arguments}}]}]
    }
    texts = [text for _, text in _texts(body)]
    assert "what is it" in texts
    assert "and that one too" in texts


@pytest.mark.parametrize(
    ("body", "kind", "path"),
    [
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}
                        ],
                    }
                ]
            },
            "image",
            "$.messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "image",
                                "source": {
                                    "type": "base64",
                                    "media_type": "image/png",
                                    "data": "AAAA",
                                },
                            }
                        ],
                    }
                ]
            },
            "image",
            "$.messages[0].content[0]",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}]}]},
            "file",
            "$.contents[0].parts[0].inlineData",
        ),
        (
            {"messages": [{"content": [{"image": {"format": "png", "source": {"bytes": "AA"}}}]}]},
            "image",
            "$.messages[0].content[0].image",
        ),
        ({"prompt": "look", "images": ["AAAA"]}, "image", "$.images"),
        (
            {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_file", "file_data": "AAAA", "filename": "a.pdf"}
                        ],
                    }
                ]
            },
            "file",
            "$.input[0].content[0]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [{"type": "redacted_thinking", "data": "AAAA"}],
                    }
                ]
            },
            "reasoning",
            "$.messages[0].content[0]",
        ),
        (
            {"input": [{"type": "reasoning", "encrypted_content": "gAAA", "summary": []}]},
            "reasoning",
            "$.input[0].encrypted_content",
        ),
        ({"prompt_embeds": "AAAA", "messages": []}, "embeddings", "$.prompt_embeds"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
                        ],
                    }
                ]
            },
            "audio",
            "$.messages[0].content[0]",
        ),
    ],
)
def test_a_part_that_is_no_text_is_listed_as_unread(body: object, kind: str, path: str) -> None:
    assert [(part.kind, part.path) for part in _read(body).unread] == [(kind, path)]


def test_text_in_the_place_of_an_image_is_read_and_the_image_still_unread() -> None:
    body = {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": MARK}}]}
        ]
    }
    read = _read(body)
    assert [passage.text for passage in read.passages] == [MARK]
    assert [part.kind for part in read.unread] == ["image"]


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": [1, 2, 3]},
        {"prompt": [[2129, 2000], [7]]},
        {"input": [1, 2]},
        {"inputs": [[1]]},
        {"prompt": "hi", "context": [5, 6]},
        {"prompt_token_ids": [1]},
    ],
)
def test_token_ids_are_refused(body: object) -> None:
    with pytest.raises(InputError, match="token ids"):
        _read(body)


def test_keys_equal_but_for_case_are_refused_but_for_an_applications_own_objects() -> None:
    with pytest.raises(InputError, match="equal but for case"):
        _read({"messages": [{"role": "user", "content": "a", "Content": "b"}]})
    texts = _texts({"metadata": {"A": "first thing here", "a": "second thing here"}})
    assert {"first thing here", "second thing here"} <= {text for _, text in texts}


@pytest.mark.parametrize("place", get_args(Place))
def test_no_two_known_keys_are_equal_but_for_case(place: Place) -> None:
    """Objects of known keys alone are not checked for it."""
    known = {*fields_at(place), *KEYS}
    assert len({key.casefold() for key in known}) == len(known)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        read_body(JSON_TYPE, b'{"prompt": "\\ud800"}', "request")


def test_nesting_beyond_the_limit_is_refused_and_a_deep_schema_is_not() -> None:
    def nested(depth: int) -> object:
        value: object = "a"
        for _ in range(depth):
            value = {"a": value}
        return value

    _read({"tools": [nested(80)]})
    with pytest.raises(InputError, match="100 levels"):
        _read(nested(150))


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"model": "m", "temperature": 1}, [], [{}]])
def test_a_request_without_anything_to_judge_is_refused(body: object) -> None:
    with pytest.raises(InputError, match="holds no text"):
        _read(body)


def test_a_request_of_a_hundred_equal_texts_is_read_once() -> None:
    body = {"messages": [{"role": "user", "content": "again and again"}] * 100}
    assert _texts(body) == [("user", "again and again")]


def test_every_api_has_a_name_and_fields() -> None:
    assert len({api.name for api in APIS}) == len(APIS) == 10
    assert all(api.fields for api in APIS)


@pytest.mark.parametrize("value", ["\ud800", {"B": 1, "b": 2}])
def test_an_error_repeats_no_key_of_a_caller(value: object) -> None:
    body = {"messages": [{"role": "user", "sesame": value}]}
    if isinstance(value, dict):
        body = {"messages": [{"role": "user", "content": [{"sesame": 1, "Sesame": 2}]}]}
    with pytest.raises(InputError) as caught:
        _read(body)
    assert "$.messages[0]" in str(caught.value)
    assert "sesame" not in str(caught.value).lower()
