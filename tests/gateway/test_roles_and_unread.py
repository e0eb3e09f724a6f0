"""Rules by role and side, and what becomes of parts that nobody could read, at every route."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from hazgate import Gate, Policy
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import ServeSettings

LITELLM = "/beta/litellm_basic_guardrail_api"
POLICY = """schema_version = 1
name = "blocks"
mode = "strict"
[gate]
controversial = 0.5
unsafe = 0.5
[hazards]
default = { action = "block", threshold = 0.0 }
"""
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SEEN = {"messages": [{"role": "user", "content": [{"type": "text", "text": "good"}, IMAGE]}]}


def _policy(more: str = "", name: str = "blocks") -> Policy:
    return Policy.parse((POLICY.replace("blocks", name) + more).encode())


@contextmanager
def _served(gate: Gate) -> Iterator[TestClient]:
    with TestClient(create_app(gate, ServeSettings()), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("action", ["block", "flag", "allow"])
def test_the_policy_says_what_becomes_of_an_image_and_no_answer_calls_it_checked(
    spotting: Gate, action: str
) -> None:
    with _served(spotting.with_policy(_policy(f'[unread]\nimage = "{action}"\n'))) as client:
        passed = client.post("/ext_authz/v1/chat/completions", json=SEEN)
        assert passed.status_code == (403 if action == "block" else 200)
        guarded = client.post(LITELLM, json={"texts": ["good"], "images": ["AAAA"]})
        assert guarded.json()["action"] == ("BLOCKED" if action == "block" else "NONE")
        webhook = client.post("/request", json={"body": SEEN}).json()["action"]
        assert "image" in webhook["reason"]
        assert ("status_code" in webhook) is (action == "block")
        checked = client.post("/v1/check", json=SEEN).json()
        assert checked["flagged"] is (action != "allow")
        assert checked["unread_action"] == action
        assert checked["unread"] == [{"path": "$.messages[0].content[1]", "kind": "image"}]
        moderated = client.post("/v1/moderations", json={"input": SEEN["messages"][0]["content"]})
        if action == "block":
            assert moderated.status_code == 400
            assert "image" in moderated.json()["error"]["message"]
        else:
            assert moderated.json()["results"][0]["flagged"] is (action == "flag")
            for answer in (passed, guarded, moderated):
                assert answer.headers["x-hazgate-unread"] == "image"
        counted = client.get("/metrics").text
        assert f'hazgate_unread_total{{action="{action}",kind="image"}}' in counted


def test_without_a_policy_unread_parts_block(spotting: Gate) -> None:
    with _served(spotting) as client:
        assert client.post("/ext_authz/v1/chat/completions", json=SEEN).status_code == 403
        assert client.post("/v1/check", json=SEEN).json()["flagged"] is True


def test_unsafe_text_beside_an_allowed_image_is_still_blocked(spotting: Gate) -> None:
    unsafe = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "morning"}, IMAGE]}]
    }
    with _served(spotting.with_policy(_policy('[unread]\ndefault = "allow"\n'))) as client:
        assert client.post("/ext_authz/x", json=unsafe).status_code == 403
        only = {"messages": [{"role": "user", "content": [IMAGE]}]}
        assert client.post("/v1/moderations", json={"input": [IMAGE]}).status_code == 400
        assert client.post("/ext_authz/x", json=only).headers["x-hazgate-unread"] == "image"


def test_each_role_is_judged_by_its_own_rules(spotting: Gate) -> None:
    lenient = "[roles.definition.gate]\nunsafe = 0.99\ncontroversial = 0.99\n"
    body = {
        "messages": [{"role": "user", "content": "good"}],
        "tools": [{"type": "function", "function": {"name": "f", "description": "morning"}}],
    }
    with _served(spotting.with_policy(_policy(lenient))) as client:
        assert client.post("/ext_authz/x", json=body).status_code == 200
        said = {"messages": [{"role": "user", "content": "morning"}]}
        assert client.post("/ext_authz/x", json=said).status_code == 403
        for role, flagged in (("definition", False), ("user", True), (None, True)):
            checked = client.post("/v1/check", json={"text": "morning", "role": role}).json()
            assert checked["flagged"] is flagged
            assert checked["read"] == [{"path": "$.text", "role": role, "pair": False}]
    with _served(spotting) as client:
        assert client.post("/ext_authz/x", json=body).status_code == 403


def test_responses_have_a_policy_of_their_own(spotting: Gate) -> None:
    gate = spotting.with_policy(
        _policy('[unread]\ndefault = "allow"\n'),
        responses=_policy(
            "[roles.assistant.gate]\nunsafe = 0.99\ncontroversial = 0.99\n", "answers"
        ),
    )
    asked = {"body": {"messages": [{"role": "assistant", "content": "morning"}]}}
    said = {"body": {"choices": [{"message": {"role": "assistant", "content": "morning"}}]}}
    with _served(gate) as client:
        assert "status_code" in client.post("/request", json=asked).json()["action"]
        assert "status_code" not in client.post("/response", json=said).json()["action"]
        image = {"texts": ["good"], "images": ["AAAA"], "input_type": "response"}
        assert client.post(LITELLM, json=image).json()["action"] == "BLOCKED"
        check = {"text": "morning", "role": "assistant", "side": "response"}
        verdict = client.post("/v1/check", json=check).json()["verdicts"][0]
        assert verdict["decision"]["policy"]["name"] == "answers"
        assert verdict["flagged"] is False
        assert client.get("/info").json()["responses"]["name"] == "answers"


def test_a_conversation_is_read_whole_tool_calls_and_unknown_fields_too(spotting: Gate) -> None:
    call = {"function": {"name": "f", "arguments": '{"q": "morning"}'}}
    messages = [
        {"role": "user", "content": "good"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "good"},
        {"role": "user", "content": ""},
    ]
    with _served(spotting) as client:
        answer = client.post("/v1/check", json={"messages": messages}).json()
        assert (answer["flagged"], answer["decisive"]) == (True, 1)
        speakers = list(dict.fromkeys(part["role"] for part in answer["read"]))
        assert speakers == ["user", "assistant", "tool"]
        (place,) = (part["path"] for part in answer["read"][2:3])
        assert place.startswith("$.messages[1].tool_calls[0].function")
        assert len(answer["verdicts"]) == len(answer["read"])
        last = {"messages": messages, "scope": "last"}
        assert client.post("/v1/check", json=last).json()["flagged"] is False
        whole = client.post("/v1/check", json={"messages": messages, "scope": "whole"}).json()
        assert (whole["flagged"], whole["decisive"], len(whole["verdicts"])) == (True, None, 1)
        hidden = {"messages": [{"role": "user", "content": "good", "content_blocks": ["morning"]}]}
        assert client.post("/v1/check", json=hidden).json()["flagged"] is True


# What LiteLLM 1.108 sends with every call, beside the texts.
FACTS = {
    "input_type": "request",
    "litellm_call_id": "5f0f1a2e-7c1d-4b43-9a55-8d6f7c3f0d11",
    "litellm_trace_id": None,
    "litellm_version": "1.108.6",
    "model": "azure/gpt-4o-mini",
    "request_data": {"user_api_key_alias": "world team", "user_api_key_user_id": None},
    "request_headers": {"user-agent": "world/1.0", "authorization": "[present]"},
    "additional_provider_specific_params": {},
    "structured_messages": None,
    "images": None,
    "tools": None,
    "tool_calls": None,
}


def test_facts_about_a_call_to_litellm_are_no_text(spotting: Gate) -> None:
    with _served(spotting) as client:
        assert client.post(LITELLM, json={**FACTS, "texts": ["good"]}).json()["action"] == "NONE"
        # And nothing that could be judged.
        assert client.post(LITELLM, json=FACTS).status_code == 400


UNKNOWN: tuple[dict[str, object], ...] = (
    {"documents": ["good morning"]},
    {"morning": 1},
    {"tomorrow": {"a": [{"b": "good morning"}]}},
    {"litellm_call_id": "good morning"},
    {"model": "good morning"},
    {"additional_provider_specific_params": {"prompt": "good morning"}},
    {"metadata": {"note": "good morning"}},
    {"messages": [{"role": "user", "content": "morning"}], "input": "good"},
)


def test_a_field_of_litellm_that_is_not_known_is_read(spotting: Gate) -> None:
    with _served(spotting) as client:
        for side in ("request", "response"):
            for more in UNKNOWN:
                body = {**FACTS, "texts": ["good"], "input_type": side, **more}
                assert client.post(LITELLM, json=body).json()["action"] == "BLOCKED", more


@pytest.mark.parametrize("field", ["request_data", "request_headers"])
def test_a_known_field_of_litellm_in_another_form_is_refused(spotting: Gate, field: str) -> None:
    with _served(spotting) as client:
        answer = client.post(LITELLM, json={**FACTS, "texts": ["good"], field: "good morning"})
        assert answer.status_code == 422
        assert field in answer.text
        assert "morning" not in answer.text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("content-encoding", ("gzip", "identity")),
        ("content-encoding", ("identity", "br")),
        ("content-type", ("application/json", "text/plain")),
        ("x-envoy-auth-partial-body", ("false", "true")),
        ("x-envoy-auth-partial-body", ("true", "false")),
    ],
)
def test_no_header_is_hidden_by_another_of_its_name(
    spotting: Gate, name: str, values: tuple[str, str]
) -> None:
    with _served(spotting) as client:
        headers = [(name, value) for value in values]
        answer = client.post("/ext_authz/x", content=b'{"prompt": "good"}', headers=headers)
        assert answer.status_code == 400
        assert client.post("/ext_authz/x", json={"prompt": "good"}).status_code == 200
