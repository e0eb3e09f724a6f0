"""Requests without text pass where their API has such requests, and hide nothing there."""

import json

import pytest

from hazgate.errors import InputError
from hazgate.serving.bodies.fields import TextlessRequest
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.read import read_body, read_request
from hazgate.serving.bodies.table import APIS
from tests.gateway.bodies.test_walk import MARK

JSON = {"content-type": "application/json"}
ROUTES = [each for api in APIS for each in api.textless]


def _read(path: str, body: object) -> BodyText:
    return read_request("POST", path, JSON, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        # As in the APIs' own documentation.
        ("/api/generate", {"model": "llama3.2"}),
        ("/api/generate", {"model": "llama3.2", "keep_alive": 0}),
        ("/api/generate", {"model": "llama3.2:3b", "prompt": "", "keep_alive": "5m"}),
        ("/api/chat", {"model": "llama3.2", "messages": []}),
        ("/ollama/api/chat", {"model": "llama3.2", "messages": [], "keep_alive": 0}),
        ("/v1/threads", {}),
        ("/openai/threads?api-version=2024-05-01-preview", {}),
        ("/v1/threads/thread_abc123/runs", {"assistant_id": "asst_abc123"}),
        ("/v1/threads/thread_abc123/runs", {"assistant_id": "asst_abc123", "stream": True}),
        ("/v1/threads/thread_abc123/runs/run_abc123/cancel", {}),
        ("/v1/conversations", {}),
        ("/v1/responses/resp_abc123/cancel", {}),
        ("/v1/batches/batch_abc123/cancel", {}),
        ("/v1/realtime/client_secrets", {}),
    ],
)
def test_a_request_that_its_api_has_without_text_passes(path: str, body: object) -> None:
    assert _read(path, body) == BodyText()
    headers = {**JSON, ":path": path}
    assert read_body(headers, json.dumps(body).encode(), "request") == BodyText()
    # Anywhere else, and where the path is not known, it is refused.
    with pytest.raises(InputError, match="holds no text"):
        _read("/v1/chat/completions", body)
    with pytest.raises(InputError, match="holds no text"):
        read_body(JSON, json.dumps(body).encode(), "request")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"model": "m", "tokens": []}),
        ("/api/generate", {"model": "m", "top_k": [7, 8]}),
        ("/api/generate", []),
        ("/api/generate/more", {"model": "m"}),
        ("/v1/threads", [{}]),
        ("/v1/threads", {"prompt": None}),
        ("/v1/responses", {"model": "m"}),
        ("/v1/chat/completions?x=/api/generate", {"model": "m"}),
    ],
)
def test_another_shape_or_path_is_refused(path: str, body: object) -> None:
    with pytest.raises(InputError, match=r"holds no text|cannot be read"):
        _read(path, body)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.route)
def test_a_string_in_such_a_request_is_read(route: TextlessRequest) -> None:
    path = "/v1" + route.route.replace("*", "id_1")
    for key in (*route.keys, "anything"):
        for said in (MARK, [MARK], {"a": MARK}, [{"role": "user", "content": [MARK]}]):
            assert any(MARK in passage.text for passage in _read(path, {key: said}).passages)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.route)
def test_what_is_unread_in_such_a_request_is_listed(route: TextlessRequest) -> None:
    body = {"messages": [{"role": "user", "images": ["AAAA"]}]}
    assert [part.kind for part in _read("/v1" + route.route, body).unread] == ["image"]
