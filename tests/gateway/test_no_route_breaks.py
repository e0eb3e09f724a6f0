"""No bytes make a route answer 500, and no error repeats what was sent."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import ServeSettings

FEW, MANY = 60, 10_000
JSON = "application/json"
MARKER = "unrepeatable"
# A valid body of each route; most of the tried ones differ from it in one value.
VALID: dict[str, object] = {
    "/v1/check": {"messages": [{"role": "user", "content": "good"}], "scope": "each"},
    "/v1/moderations": {"input": [{"type": "text", "text": "good"}], "model": "m"},
    "/classify": {"inputs": "good", "contract": "score.v1", "deadline_ms": 900},
    "/v1/classify": {"input": ["good"], "softmax": True},
    "/predict": {"inputs": [["good"]], "truncate": False, "parameters": {"top_k": 1}},
    "/v2/models/tiny/infer": {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["good"]}],
        "outputs": [{"name": "unsafe", "parameters": {"binary_data": False}}],
        "parameters": {"timeout": 900_000},
    },
    "/beta/litellm_basic_guardrail_api": {"texts": ["good"], "input_type": "request"},
    "/request": {"body": {"messages": [{"role": "user", "content": "good"}]}},
    "/response": {"body": {"choices": [{"message": {"role": "assistant", "content": "good"}}]}},
    "/guardrail/g/version/1/apply": {
        "source": "INPUT",
        "content": [{"text": {"text": "good", "qualifiers": ["query"]}}],
        "outputScope": "FULL",
    },
    "/contentsafety/text:analyze?api-version=2023-10-01": {
        "text": "good",
        "categories": ["Hate"],
        "outputType": "EightSeverityLevels",
    },
    "/ext_authz/v1/chat/completions": {"messages": [{"role": "user", "content": "good"}]},
    "/ext_authz//[": {"prompt": "good"},
    "/nothing": {},
}
PATHS = st.sampled_from(list(VALID))
KEYS = st.sampled_from(
    [
        *("text", "texts", "messages", "scope", "input", "inputs", "model", "contract", "data"),
        *("deadline_ms", "truncate", "parameters", "name", "datatype", "shape", "body", "choices"),
        *("message", "content", "role", "source", "image", "bytes", "format", "categories"),
        *("tool_calls", "tools", "type", "outputs", "input_type", "structured_messages", MARKER),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(
        ["", "good", "good morning", "INPUT", "user", "BYTES", "text", "\u2028", MARKER]
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
TYPES = st.sampled_from(
    [JSON, JSON, "text/plain", "multipart/form-data; boundary=b", "text/event-stream", ""]
)


def _changed(value: object, data: st.DataObject) -> object:
    """Put any value in the place of one of a body's values."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 3)):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: _changed(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 3)):
        i = data.draw(st.integers(0, len(value) - 1))
        return [*value[:i], _changed(value[i], data), *value[i + 1 :]]
    return data.draw(VALUES)


@pytest.fixture(scope="module")
def client(spotting: Gate) -> Iterator[TestClient]:
    app = create_app(spotting, ServeSettings())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def _check(client: TestClient, path: str, kind: str, data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=30)) if kind != JSON else b""
    if not body:
        body = json.dumps(_changed(VALID[path], data)).encode()
    answer = client.post(path, content=body, headers={"content-type": kind})
    # Overload and a deadline of one's own are answers; a fault of the server is none.
    assert answer.status_code not in (500, 424), (path, body, answer.text)
    if answer.status_code >= 400:
        assert MARKER not in answer.text, (path, body, answer.text)


_fuzzed = given(PATHS, TYPES, st.data())


@settings(max_examples=FEW, deadline=None)
@_fuzzed
def test_no_bytes_break_a_route(
    client: TestClient, path: str, kind: str, data: st.DataObject
) -> None:
    _check(client, path, kind, data)


@pytest.mark.slow
@settings(max_examples=MANY, deadline=None)
@_fuzzed
def test_no_bytes_of_ten_thousand_requests_break_a_route(
    client: TestClient, path: str, kind: str, data: st.DataObject
) -> None:
    _check(client, path, kind, data)
