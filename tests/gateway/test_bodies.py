"""What is read in the bodies of LLM APIs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import InputError
from hazgate.serving.http.bodies import texts_of_request, texts_of_response

CALLS = {"tool_calls": [{"function": {"name": "f", "arguments": "b"}}]}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"messages": [{"role": "user", "content": "a"}], "prompt": "b"}, ["a", "b"]),
        ({"input": ["a", "b"], "instructions": "c"}, ["a", "b", "c"]),
        ({"system": [{"type": "text", "text": "a"}]}, ["a"]),
        ({"messages": [{"role": "user", "content": "a", **CALLS}]}, ["a", "b"]),
        ({"messages": [], "contents": [{"parts": [{"text": "a"}]}]}, ["a"]),
        ({"systemInstruction": {"parts": [{"text": "a"}]}}, ["a"]),
        ({"model": "m"}, ['{"model": "m"}']),
        (["a"], ['["a"]']),
    ],
)
def test_of_a_request_that_an_llm_api_knows_its_own_fields_are_read(
    body: object, texts: list[str]
) -> None:
    assert texts_of_request(json.dumps(body).encode()) == texts


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}, ["a", "b"]),
        ({"choices": [{"text": "a"}]}, ["a"]),
        ({"choices": [{"message": {"content": None, "reasoning_content": "a"}}]}, ["a"]),
        ({"output": [{"content": [{"type": "output_text", "text": "a"}]}]}, ["a"]),
        ({"content": [{"type": "text", "text": "a"}]}, ["a"]),
        ({"choices": [{"message": {"content": "a", **CALLS}}]}, ["a", "b"]),
        ({"output": [{"type": "function_call", "arguments": "a"}]}, ["a"]),
        ({"candidates": [{"content": {"parts": [{"text": "a"}]}}]}, ["a"]),
        ({"error": "a"}, ['{"error": "a"}']),
    ],
)
def test_of_an_answer_what_the_model_says_is_read(body: object, texts: list[str]) -> None:
    assert texts_of_response(json.dumps(body).encode()) == texts


def test_pieces_of_a_streamed_answer_are_read_as_one_text_a_choice() -> None:
    events = [
        {"choices": [{"index": 0, "delta": {"content": "good "}}]},
        {"choices": [{"index": 1, "delta": {"content": "bye"}}]},
        {"choices": [{"index": 0, "delta": {"content": "morning"}}]},
    ]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    body = "".join([*lines, "data: [DONE]\n\n"]).encode()
    assert texts_of_response(body) == ["good morning", "bye"]
    deltas = [{"type": "x", "delta": {"text": "a"}}, {"type": "x", "delta": "b"}]
    body = "\n".join(f"data: {json.dumps(delta)}" for delta in deltas).encode()
    assert texts_of_response(body) == ["ab"]


def test_what_is_no_utf8_is_an_error_and_what_is_empty_is_nothing() -> None:
    for read in (texts_of_request, texts_of_response):
        with pytest.raises(InputError):
            read(b"\x1f\x8b\x08\xff")
        assert read(b"  ") == []


@given(JSON_VALUES)
def test_no_json_is_passed_over_unread(value: object) -> None:
    body = json.dumps(value).encode()
    for read in (texts_of_request, texts_of_response):
        try:
            texts = read(body)
        except InputError:
            continue
        assert texts
        assert all(isinstance(text, str) for text in texts)
