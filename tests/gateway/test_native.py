"""The native dialect answers with the gate's verdict on texts, turns and growing texts."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import ServeSettings
from hazgate.text.reading import Reading
from tests.support.served import LITELLM, MARKER


@pytest.mark.parametrize(
    "reading",
    [
        Reading(max_text_tokens=500),
        Reading(long_texts="reject"),
        Reading(long_texts="truncate"),
        Reading(max_text_bytes=3),
    ],
    ids=str,
)
def test_a_server_warms_up_within_its_own_limits(tiny_bundle: Path, reading: Reading) -> None:
    gate = Gate.open(tiny_bundle, engine=EngineOptions(threads=1), reading=reading)
    with TestClient(create_app(gate, ServeSettings())) as client:
        assert client.get("/health/ready").status_code == 200


def test_the_native_answer_is_the_gates_verdict(client: TestClient, spotting: Gate) -> None:
    texts = ["good morning", "good", ""]
    answer = client.post("/v1/check", json={"texts": texts}).json()
    assert answer["flagged"] is True
    assert answer["verdicts"] == [verdict.to_dict() for verdict in spotting.check_many(texts)]
    single = client.post("/v1/check", json={"text": "good"}).json()
    assert single["verdicts"] == [spotting.check("good").to_dict()]
    assert single["decisive"] is None


def test_a_conversation_names_the_turn_that_decides(client: TestClient) -> None:
    messages = [
        {"role": "user", "content": "good"},
        {"role": "assistant", "content": [{"type": "text", "text": "good morning"}]},
        {"role": "user", "content": "good"},
    ]
    answer = client.post("/v1/check", json={"messages": messages}).json()
    assert (answer["flagged"], answer["decisive"], len(answer["verdicts"])) == (True, 1, 3)
    last = client.post("/v1/check", json={"messages": messages, "scope": "last"}).json()
    assert (last["flagged"], last["decisive"]) == (False, 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "a", "texts": ["b"]},
        {"text": 7},
        {"texts": "morning"},
        {"text": "a", "unknown": 1},
        {"messages": []},
        {"messages": [{"role": 1}]},
        {"text": "a", "scope": "all"},
        {"text": "a", "tenant": "nobody"},
    ],
    ids=str,
)
def test_an_invalid_request_is_refused_without_repeating_its_text(
    client: TestClient, body: dict[str, Any]
) -> None:
    body = {**body, MARKER: 1} if "unknown" in body else body
    answer = client.post("/v1/check", json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]
    assert MARKER not in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b'{"text": "\xff"}', 400),
        (b"", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"text": "\\ud800"}', 400),
    ],
)
def test_a_body_that_is_not_a_json_object_of_text_is_refused(
    client: TestClient, body: bytes, status: int
) -> None:
    answer = client.post("/v1/check", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_growing_text_is_answered_piece_by_piece_and_read_whole_at_its_end(
    client: TestClient, spotting: Gate
) -> None:
    with client.websocket_connect("/v1/watch") as socket:
        answers = []
        for piece in ("good " * 3, "morning ", "good"):
            socket.send_json({"text": piece})
            answers.append(socket.receive_json())
        socket.send_json({"end": True})
        last = socket.receive_json()
    assert [answer["unsafe"] for answer in answers] == [False, True, True]
    assert last["unsafe"] is True
    assert [answer["received"] for answer in (*answers, last)] == [15, 23, 27, 27]
    assert last["read"] == 27
    assert last["verdict"] == spotting.check("good good good morning good").to_dict()


def test_an_answer_on_a_growing_text_says_how_much_of_it_was_read(client: TestClient) -> None:
    text = "good good good good good good morning"
    answers = []
    with client.websocket_connect("/v1/watch") as socket:
        for i in range(0, len(text), 3):
            socket.send_json({"text": text[i : i + 3]})
            answers.append(socket.receive_json())
    # Nothing unread looks safe: as long as it is not called unsafe, the word was not read.
    assert all(a["read"] <= text.index("morning") + 6 for a in answers if not a["unsafe"])
    assert {answer["read"] <= answer["received"] for answer in answers} == {True}
    assert answers[-1]["read"] > 0
    assert answers[0] == {"unsafe": False, "read": 0, "received": 3, "verdict": None}


@pytest.mark.parametrize("message", ["{", '{"text": 7}', '{"other": 1}', '{"text": "\\ud800"}'])
def test_a_piece_that_cannot_be_read_ends_the_text(client: TestClient, message: str) -> None:
    with client.websocket_connect("/v1/watch") as socket:
        socket.send_text(message)
        assert socket.receive_json()["error"]["code"] == "invalid_input"
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_json()
    assert caught.value.code == 1008


def test_the_api_is_described(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/check", "/v1/moderations", "/classify", "/predict", LITELLM} <= set(paths)
    assert client.get("/info").json()["bundle"] == "tiny"
