"""Offending windows are replaced as a policy says; a body that cannot carry that is blocked."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from hazgate import Gate, Policy, PolicyError
from hazgate.serving.markers import MARKER
from hazgate.serving.settings import ServeSettings, StreamTable
from tests.support.served import LITELLM, served
from tests.support.spotter import MORNING_HAZARD, WORLD_HAZARD
from tests.support.tiny import HAZARDS

# "morning" is masked, "world" is blocked.
MASKS = f"""schema_version = 1
name = "masks"
mode = "loose"
[gate]
controversial = 0.4
unsafe = 0.5
[hazards]
default = {{ action = "flag", threshold = 0.9 }}
{HAZARDS[MORNING_HAZARD]} = {{ action = "mask", threshold = 0.4 }}
{HAZARDS[WORLD_HAZARD]} = {{ action = "block", threshold = 0.4 }}
"""
# The window of six words around "morning" is replaced, and no other.
LONG = "good " * 12 + "morning " + "good " * 12


@pytest.fixture(scope="module")
def client(spotting: Gate) -> Iterator[TestClient]:
    gate = spotting.with_policy(Policy.parse(MASKS.encode()))
    settings = ServeSettings(stream=StreamTable(hold_tokens=2))
    with served(gate, settings) as client:
        yield client


@pytest.fixture(scope="module")
def masking(spotting: Gate) -> Iterator[TestClient]:
    gate = spotting.with_policy(Policy.parse(MASKS.encode()))
    settings = ServeSettings(litellm_masks_responses=True, stream=StreamTable(hold_tokens=2))
    with served(gate, settings) as client:
        yield client


def test_litellm_gets_the_texts_with_the_offending_window_replaced(
    client: TestClient, spotting: Gate
) -> None:
    messages = [{"role": "user", "content": "good"}, {"role": "user", "content": LONG}]
    asked = {"texts": ["good", LONG], "structured_messages": messages, "input_type": "request"}
    answer = client.post(LITELLM, json=asked).json()
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    same, masked = answer["texts"]
    assert same == "good"
    assert "morning" not in masked
    assert masked.count(MARKER) >= 1
    assert masked.startswith("good good")
    assert masked.endswith("good good ")
    # What is returned passes by itself.
    assert not any(verdict.flagged for verdict in spotting.check_many(answer["texts"]))


@pytest.mark.parametrize(
    "asked",
    [
        {"texts": ["good morning", "good world"]},
        {"texts": ["good"], "structured_messages": [{"role": "user", "content": "morning"}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": '{"q": "morning"}'}}]},
        {"texts": ["morning"], "images": ["AAAA"]},
        {"texts": ["morning"], "input_type": "response"},
    ],
    ids=["another text is blocked", "not in texts", "a tool call", "an image", "a response"],
)
def test_litellm_blocks_what_it_could_not_carry_masked(
    client: TestClient, asked: dict[str, object]
) -> None:
    assert client.post(LITELLM, json=asked).json()["action"] == "BLOCKED"


def test_litellm_masks_responses_where_the_settings_say_that_it_can(masking: TestClient) -> None:
    asked = {"texts": [LONG], "input_type": "response"}
    answer = masking.post(LITELLM, json=asked).json()
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    assert "morning" not in answer["texts"][0]
    (held,) = answer["stream_holdback_chars"]
    assert 0 < held <= len(answer["texts"][0])


def test_litellms_stream_waits_for_the_last_tokens_and_for_the_last_window(
    client: TestClient,
) -> None:
    texts = ["", "good", "good " * 7]
    asked = {"texts": texts, "input_type": "response"}
    answer = client.post(LITELLM, json=asked).json()
    assert answer["action"] == "NONE"
    assert answer["texts"] is None
    # The window from the fifth word on holds three words.
    assert answer["stream_holdback_chars"] == [0, 4, 15]
    asked["input_type"] = "request"
    assert client.post(LITELLM, json=asked).json()["stream_holdback_chars"] is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/request", {"messages": [{"role": "user", "content": LONG, "name": "n"}]}),
        ("/response", {"choices": [{"message": {"role": "assistant", "content": LONG}}]}),
    ],
)
def test_agentgateway_gets_the_body_with_the_offending_window_replaced(
    client: TestClient, path: str, body: dict[str, object]
) -> None:
    action = client.post(path, json={"body": body}).json()["action"]
    assert set(action) == {"body", "reason"}
    assert "morning" not in str(action["body"])
    assert MARKER in str(action["body"])
    assert set(action["body"]) == set(body)


def test_agentgateway_rejects_what_is_blocked_or_not_read(client: TestClient) -> None:
    parts = [{"type": "text", "text": "morning"}, {"type": "image_url", "image_url": {"url": "a"}}]
    for content in ("good world morning", parts):
        body = {"messages": [{"role": "user", "content": content}]}
        action = client.post("/request", json={"body": body}).json()["action"]
        assert action["status_code"] == 403


def test_other_dialects_block_what_a_policy_masks(client: TestClient) -> None:
    assert client.post("/ext_authz/x", json={"prompt": "morning"}).status_code == 403


def test_what_nobody_read_cannot_be_masked() -> None:
    with pytest.raises(PolicyError, match="unread"):
        Policy.parse(MASKS.replace("[gate]", 'unread = "mask"\n[gate]').encode())
