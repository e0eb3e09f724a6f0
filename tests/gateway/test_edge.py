"""The edge: sizes, deadlines, keys, request ids, metrics and logs."""

import asyncio
import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from hazgate import Gate
from hazgate.serving.http import whole_body
from hazgate.serving.http.app import create_app
from hazgate.serving.keys import read_api_keys
from hazgate.serving.settings import RequestTable, ServeSettings
from tests.support.served import MARKER, served
from tests.support.spotter import MORNING_HAZARD
from tests.support.tiny import HAZARDS


def test_a_body_over_the_limit_is_413_with_and_without_a_length(spotting: Gate) -> None:
    with served(spotting, ServeSettings(request=RequestTable(max_body_bytes=100))) as client:
        body = json.dumps({"text": "good " * 50}).encode()
        headers = {"content-type": "application/json"}
        assert client.post("/v1/check", content=body, headers=headers).status_code == 413
        streamed = client.post("/v1/check", content=iter([body[:60], body[60:]]), headers=headers)
        assert streamed.status_code == 413


def test_a_body_that_does_not_arrive_is_408(spotting: Gate) -> None:
    async def exchange() -> list[Message]:
        sent: list[Message] = []
        parts: list[Message] = [{"type": "http.request", "body": b'{"text"', "more_body": True}]

        async def receive() -> Message:
            if parts:
                return parts.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/check",
            "query_string": b"",
            "headers": headers,
        }
        settings = ServeSettings(request=RequestTable(body_timeout_s=0.01))
        await create_app(spotting, settings)(scope, receive, send)
        return sent

    start, body = asyncio.run(exchange())
    assert start["status"] == 408
    assert json.loads(body["body"])["error"]["code"] == "body_timeout"


def test_a_body_that_trickles_is_given_up_although_each_part_comes_in_time(
    spotting: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(whole_body, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    sent: list[Message] = []
    n_parts = 0

    async def receive() -> Message:
        nonlocal n_parts
        n_parts += 1
        clock[0] += 9.0
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/check",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }

    async def exchange() -> None:
        await create_app(spotting, ServeSettings())(scope, receive, send)

    asyncio.run(exchange())
    assert sent[0]["status"] == 408
    assert n_parts <= 3


def test_a_clock_that_jumps_changes_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    for jump_s in (-1e9, 1e9):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s: real() + jump_s)
        answer = client.post("/v1/check", json={"text": "morning"})
        assert (answer.status_code, answer.json()["flagged"]) == (200, True)


def test_without_a_known_key_only_probes_are_answered(spotting: Gate, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(
        "# ours\n  # indented\nfirst-key\nsecond-key\n", encoding="utf-8"
    )
    with served(spotting, key_digests=read_api_keys(tmp_path / "keys")) as client:
        body = {"text": "good"}
        assert client.post("/v1/check", json=body).status_code == 401
        for key, status in (
            ("first-key", 200),
            ("second-key", 200),
            ("third", 401),
            ("# indented", 401),
        ):
            headers = {"authorization": f"Bearer {key}"}
            assert client.post("/v1/check", json=body, headers=headers).status_code == status
        assert client.get("/health/ready").status_code == 200
        assert client.get("/metrics").status_code == 401
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/watch"):
            pass
        headers = {"authorization": "Bearer first-key"}
        with client.websocket_connect("/v1/watch", headers=headers) as socket:
            socket.send_json({"end": True})
            assert socket.receive_json()["unsafe"] is False


def test_every_answer_has_a_request_id_and_keeps_a_usable_one(client: TestClient) -> None:
    assert len(client.get("/info").headers["x-request-id"]) == 16
    given = client.get("/info", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    long = client.get("/info", headers={"x-request-id": "x" * 500})
    assert len(long.headers["x-request-id"]) == 16


def test_metrics_count_verdicts_by_hazard_and_hold_no_text(
    spotting: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="hazgate")
    with served(spotting) as client:
        client.post("/v1/check", json={"text": f"morning {MARKER}"})
        client.post("/v1/check", json={"text": "good"})
        figures = client.get("/metrics").text
    hazard = HAZARDS[MORNING_HAZARD]
    assert f'hazgate_verdicts_total{{flagged="true",hazard="{hazard}"}} 1.0' in figures
    assert 'hazgate_verdicts_total{flagged="false",hazard="none"} 1.0' in figures
    assert 'hazgate_requests_total{outcome="ok",route="check"} 2.0' in figures
    assert MARKER not in figures + caplog.text
    # Runs of both levels, tokens and padding.
    assert 'hazgate_run_seconds_count{level="level2"}' in figures
    assert 'hazgate_padding_total{level="level1"} 0.0' in figures


def test_the_log_has_a_line_per_request_with_its_id_and_outcome(
    spotting: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="hazgate.requests")
    with served(spotting) as client:
        headers = {"x-request-id": "abc-1"}
        client.post("/v1/check", json={"texts": ["morning", "good"]}, headers=headers)
        client.post("/v1/check", json={"text": "good", "tenant": "nobody"})
    first, second = (record for record in caplog.records if record.name == "hazgate.requests")
    fields = vars(first)
    assert (fields["request_id"], fields["outcome"], fields["texts"]) == ("abc-1", "ok", 2)
    assert (fields["flagged"], fields["hazards"]) == (1, {HAZARDS[MORNING_HAZARD]: 1})
    assert vars(second)["outcome"] == "InputError"
