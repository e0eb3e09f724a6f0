"""Gateways that block: a pass is said only of what was read, and nothing is passed over."""

import json

import pytest
from starlette.testclient import TestClient

from hazgate import Gate, Policy
from tests.support.served import LITELLM, served
from tests.support.spotter import MORNING_HAZARD
from tests.support.tiny import HAZARDS

REVIEW = b"""schema_version = 1
name = "review"
mode = "loose"
[gate]
controversial = 0.4
unsafe = 0.5
[hazards]
default = { action = "flag", threshold = 0.0 }
"""


def test_litellm_always_gets_an_action(client: TestClient) -> None:
    calm = client.post(LITELLM, json={"texts": ["good"], "input_type": "request"}).json()
    assert calm["action"] == "NONE"
    blocked = client.post(LITELLM, json={"texts": ["good", "morning"]}).json()
    assert blocked["action"] == "BLOCKED"
    assert HAZARDS[MORNING_HAZARD] in blocked["blocked_reason"]
    assert "morning" not in blocked["blocked_reason"]
    call = {"function": {"name": "f", "arguments": "morning"}}
    assert client.post(LITELLM, json={"tool_calls": [call]}).json()["action"] == "BLOCKED"


def test_agentgateways_reject_cannot_be_read_as_a_pass(client: TestClient) -> None:
    calm = client.post(
        "/request", json={"body": {"messages": [{"role": "user", "content": "good"}]}}
    ).json()
    assert set(calm["action"]) == {"reason"}
    choice = {"message": {"role": "assistant", "content": "good morning"}}
    reject = client.post("/response", json={"body": {"choices": [choice]}}).json()["action"]
    assert reject["status_code"] == 403
    assert isinstance(reject["body"], str)
    assert client.post("/response", json={"body": {"choices": [{}]}}).status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"good", 200),
        (b"good morning", 403),
        (json.dumps({"messages": [{"role": "user", "content": "morning"}]}).encode(), 403),
        (json.dumps({"model": "morning", "prompt": "good"}).encode(), 200),
        (json.dumps({"input": ["good", "world"]}).encode(), 403),
        (json.dumps({"other": "morning"}).encode(), 403),
        (b"\xff\xfe", 400),
    ],
)
def test_envoy_gets_200_for_a_pass_only(client: TestClient, body: bytes, status: int) -> None:
    assert client.post("/ext_authz/v1/chat/completions", content=body).status_code == status


def test_a_post_without_its_body_is_denied_and_a_get_passes(
    client: TestClient,
) -> None:
    refused = client.post("/ext_authz/v1/chat/completions", content=b"")
    assert refused.status_code == 400
    assert "with_request_body" in refused.json()["error"]["message"]
    assert client.get("/ext_authz/v1/models").status_code == 200


def test_a_preload_of_a_model_passes_at_its_path_alone(client: TestClient) -> None:
    preload = {"model": "llama3.2"}
    assert client.post("/ext_authz/api/generate", json=preload).status_code == 200
    assert client.post("/ext_authz/v1/completions", json=preload).status_code == 400
    assert client.post("/ext_authz/api/generate", content=b"").status_code == 400
    blocked = {**preload, "system": "good morning"}
    assert client.post("/ext_authz/api/generate", json=blocked).status_code == 403


def test_a_body_that_envoy_cut_is_denied(client: TestClient) -> None:
    headers = {"x-envoy-auth-partial-body": "true"}
    assert client.post("/ext_authz/x", content=b"good", headers=headers).status_code == 400


_TURNS = [{"role": "user", "content": f"good {i}"} for i in range(300)]
_IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"instructions": "good", "input": [{"role": "user", "content": "morning"}]}, 403),
        ({"text": "good", "message": "morning"}, 403),
        ({"messages": [{"role": "user", "content": "good", "blocks": ["morning"]}]}, 403),
        ({"messages": [], "tools": [{"function": {"description": "morning"}}]}, 403),
        ({"messages": [{"role": "user", "content": [_IMAGE]}]}, 403),
        ({"messages": _TURNS}, 200),
        ({"messages": [*_TURNS, {"role": "user", "content": "morning"}]}, 403),
        ({"prompt": [[1, 2]]}, 400),
        ({"messages": []}, 400),
    ],
)
def test_no_place_in_a_request_is_passed_over(
    client: TestClient, body: dict[str, object], status: int
) -> None:
    assert client.post("/ext_authz/v1/x", json=body).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"upgrade": "websocket"},
        {"content-type": "text/plain; charset=x"},
    ],
)
def test_a_request_that_cannot_be_read_is_denied(
    client: TestClient, headers: dict[str, str]
) -> None:
    answer = client.post("/ext_authz/v1/x", content=b"good", headers=headers)
    assert answer.status_code == 400


def test_the_query_of_a_path_is_read(client: TestClient) -> None:
    assert client.get("/ext_authz/v1/x?q=good+good").status_code == 200
    assert client.get("/ext_authz/v1/x?q=good+morning").status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"texts": ["good"], "images": ["AAAA"]},
        {"texts": ["good"], "tools": [{"function": {"description": "morning"}}]},
        {"texts": ["good"], "structured_messages": [{"role": "user", "content": "morning"}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": {"q": "morning"}}}]},
    ],
)
def test_litellm_is_never_told_none_of_what_was_not_read(
    client: TestClient, body: dict[str, object]
) -> None:
    assert client.post(LITELLM, json=body).json()["action"] == "BLOCKED"


def test_agentgateway_passes_no_tool_call_unread(client: TestClient) -> None:
    call = {"function": {"name": "f", "arguments": "morning"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"body": {"choices": [{"message": message}]}}
    assert client.post("/response", json=body).json()["action"]["status_code"] == 403
    asked = {"body": {"messages": [message]}}
    assert client.post("/request", json=asked).json()["action"]["status_code"] == 403


@pytest.mark.parametrize("path", [LITELLM, "/request", "/response", "/v1/moderations"])
def test_an_empty_request_is_an_error_and_no_pass(client: TestClient, path: str) -> None:
    bodies = {
        LITELLM: {},
        "/request": {"body": {"messages": []}},
        "/response": {"body": {"choices": []}},
        "/v1/moderations": {"input": []},
    }
    assert client.post(path, json=bodies[path]).status_code == 400


def test_a_policy_that_only_flags_lets_gateways_pass(spotting: Gate) -> None:
    with served(spotting.with_policy(Policy.parse(REVIEW))) as client:
        assert client.post(LITELLM, json={"texts": ["morning"]}).json()["action"] == "NONE"
        verdict = client.post("/v1/check", json={"text": "morning"}).json()["verdicts"][0]
        assert verdict["decision"]["action"] == "flag"
