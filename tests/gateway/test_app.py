"""Every dialect answers the gate's verdict in its own form, and no failure is a pass."""

import asyncio
import json
import logging
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from hazgate import Gate, InferenceError, Policy
from hazgate.engine.options import EngineOptions
from hazgate.serving.http import whole_body
from hazgate.serving.http.app import create_app
from hazgate.serving.keys import read_api_keys
from hazgate.serving.launch import rpc_server
from hazgate.serving.settings import EngineTable, RequestTable, ServeSettings
from hazgate.text.reading import Reading
from tests.support.sessions import Breakable, breakable_gate, held_gate, watched_gate
from tests.support.spotter import MORNING_HAZARD
from tests.support.tiny import HAZARDS

MARKER = "unrepeatable"
LITELLM = "/beta/litellm_basic_guardrail_api"
REVIEW = b"""schema_version = 1
name = "review"
mode = "loose"
[gate]
controversial = 0.4
unsafe = 0.5
[hazards]
default = { action = "flag", threshold = 0.0 }
"""


@contextmanager
def served(
    gate: Gate, settings: ServeSettings | None = None, key_digests: tuple[bytes, ...] = ()
) -> Iterator[TestClient]:
    app = create_app(gate, settings or ServeSettings(), key_digests, companion=rpc_server)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(spotting: Gate) -> Iterator[TestClient]:
    with served(spotting) as client:
        yield client


@contextmanager
def breaking(gate: Gate, settings: ServeSettings) -> Iterator[tuple[TestClient, Breakable]]:
    """Yield a client of a server whose engine fails while the switch is set."""
    breakable, switch = breakable_gate(gate)
    with served(breakable, settings) as client:
        yield client, switch


# The native dialect


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


# Other dialects


def test_moderations_have_all_thirteen_categories_in_all_three_maps(
    client: TestClient, spotting: Gate
) -> None:
    answer = client.post("/v1/moderations", json={"input": ["good", "morning"]}).json()
    calm, alarm = answer["results"]
    assert (calm["flagged"], alarm["flagged"]) == (False, True)
    for result in (calm, alarm):
        names = [set(result[key]) for key in ("categories", "category_scores")]
        assert names[0] == names[1] == set(result["category_applied_input_types"])
        assert len(names[0] & {"illicit", "illicit/violent", "violence", "hate"}) == 4
        assert len([name for name in names[0] if name not in HAZARDS]) == 13
    assert not any(calm["categories"].values())
    assert alarm["categories"][HAZARDS[MORNING_HAZARD]] is True
    assert spotting.model.bundle in answer["model"]


def test_moderations_accept_text_parts_and_refuse_images(client: TestClient) -> None:
    parts = [{"type": "text", "text": "good"}, {"type": "text", "text": "morning"}]
    (result,) = client.post("/v1/moderations", json={"input": parts}).json()["results"]
    assert result["flagged"] is True
    image = [{"type": "image_url", "image_url": {"url": "http://x"}}]
    assert client.post("/v1/moderations", json={"input": image}).status_code == 400


def test_http_classify_is_a_bare_array_whose_scores_sum_to_one(
    client: TestClient, spotting: Gate
) -> None:
    answer = client.post("/classify", json={"inputs": "good morning"}).json()
    assert [item["label"] for item in answer] == ["safe", "unsafe"]
    assert sum(item["score"] for item in answer) == pytest.approx(1)
    assert answer[1]["score"] == spotting.check("good morning").unsafe


def test_vllms_classify_has_probabilities_in_the_order_of_the_labels(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"input": ["good", "morning"]}).json()
    assert [item["label"] for item in answer["data"]] == ["safe", "unsafe"]
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert all(item["num_classes"] == len(item["probs"]) == 2 for item in answer["data"])
    assert answer["usage"]["prompt_tokens"] == 2


@pytest.mark.parametrize("body", [{}, {"inputs": "a", "input": "b"}])
def test_classify_refuses_a_body_of_no_or_two_dialects(
    client: TestClient, body: dict[str, str]
) -> None:
    answer = client.post("/classify", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_tei_scores_descend_and_a_pair_is_refused(client: TestClient) -> None:
    (first, second) = client.post("/predict", json={"inputs": "morning"}).json()
    assert (first["label"], second["label"]) == ("unsafe", "safe")
    assert first["score"] >= second["score"]
    batch = client.post("/predict", json={"inputs": [["good"], ["morning"]]}).json()
    assert [item[0]["label"] for item in batch] == ["safe", "unsafe"]
    for wrong in (
        {"inputs": ["a", "b"]},
        {"inputs": [["a", "b"]]},
        {"inputs": "a", "raw_scores": True},
        {"inputs": "a", "truncate": True},
    ):
        answer = client.post("/predict", json=wrong)
        assert answer.status_code == 422
        assert answer.json()["error_type"] == "validation"


def test_kserve_names_its_tensors_and_infers(client: TestClient, spotting: Gate) -> None:
    name = spotting.model.bundle
    assert client.get(f"/v2/models/{name}").json()["inputs"][0]["datatype"] == "BYTES"
    assert client.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["good", "morning"]}
    answer = client.post(
        f"/v2/models/{name}/infer",
        json={"id": "42", "inputs": [tensor], "outputs": [{"name": "flagged"}]},
    ).json()
    assert answer == {
        "model_name": name,
        "id": "42",
        "outputs": [{"name": "flagged", "shape": [2], "datatype": "BOOL", "data": [False, True]}],
    }
    assert client.get("/v2/models/other").status_code == 404
    wrong = {**tensor, "shape": [3]}
    answer = client.post(f"/v2/models/{name}/infer", json={"inputs": [wrong]})
    assert answer.status_code == 400
    assert "does not hold 2 elements" in answer.json()["error"]


def test_kserve_reads_and_writes_binary_tensors(client: TestClient, spotting: Gate) -> None:
    texts = [b"good", b"good morning"]
    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    tensor = {
        "name": "text",
        "datatype": "BYTES",
        "shape": [2],
        "parameters": {"binary_data_size": len(raw)},
    }
    request = {
        "inputs": [tensor],
        "outputs": [
            {"name": "unsafe", "parameters": {"binary_data": True}},
            {"name": "flagged", "parameters": {"binary_data": False}},
        ],
    }
    head = json.dumps(request).encode()
    url, length = f"/v2/models/{spotting.model.bundle}/infer", "inference-header-content-length"
    answer = client.post(url, content=head + raw, headers={length: str(len(head))})
    n_head = int(answer.headers[length])
    unsafe, flagged = json.loads(answer.content[:n_head])["outputs"]
    assert unsafe["parameters"] == {"binary_data_size": 8}
    expected = [spotting.check(text.decode()).unsafe for text in texts]
    assert (
        np.frombuffer(answer.content[n_head:], "<f4").tolist()
        == np.asarray(expected, np.float32).tolist()
    )
    assert flagged["data"] == [False, True]
    for wrong in ("x", str(len(head) + len(raw) + 1), "3"):
        answer = client.post(url, content=head + raw, headers={length: wrong})
        assert answer.status_code == 400
        assert isinstance(answer.json()["error"], str)
    short = client.post(url, content=head + raw[:-1], headers={length: str(len(head))})
    assert short.status_code == 400


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


# Failures


def test_no_failure_is_a_pass_and_readiness_is_red_until_the_engine_works(spotting: Gate) -> None:
    with breaking(spotting, ServeSettings()) as (client, engine):
        assert client.get("/health/ready").status_code == 200
        engine.broken = True
        bodies = {
            "/v1/check": {"text": "good"},
            "/v1/moderations": {"input": "good"},
            "/classify": {"inputs": "good"},
            LITELLM: {"texts": ["good"]},
            "/request": {"body": {"messages": [{"role": "user", "content": "good"}]}},
            "/ext_authz/x": {"prompt": "good"},
        }
        for path, body in bodies.items():
            assert client.post(path, json=body).status_code == 500, path
        assert client.post("/predict", json={"inputs": "good"}).status_code == 424
        _await_status(client, "/health/ready", 503)
        assert client.get("/health/ready").json()["failing"] is True
        assert client.get("/health/live").status_code == 200
        # No load balancer sends a request to a server that is not ready: it must find out itself.
        engine.broken = False
        _await_status(client, "/health/ready", 200)
        assert client.get("/v2/health/ready").status_code == 200


def _await_status(client: TestClient, path: str, status: int) -> None:
    until = time.monotonic() + 20
    while client.get(path).status_code != status:
        assert time.monotonic() < until, f"{path} never became {status}"
        time.sleep(0.05)


def test_a_text_that_fails_alone_is_no_engine_that_fails(spotting: Gate) -> None:
    (poison,) = spotting.level1.tokenizer.encode(["world"])

    def fail(input_ids: np.ndarray) -> None:
        if (input_ids == poison.windows[0].input_ids[1]).any():
            raise InferenceError("poisoned")

    with served(watched_gate(spotting, fail)) as client:
        for _ in range(3):
            assert client.post("/v1/check", json={"text": "world"}).status_code == 500
            assert client.get("/health/ready").status_code == 200


def test_a_failing_engine_is_not_tried_by_each_probe(spotting: Gate) -> None:
    runs: list[int] = []
    broken = threading.Event()

    def fail(input_ids: np.ndarray) -> None:
        if broken.is_set():
            runs.append(len(input_ids))
            raise InferenceError("the session is gone")

    with served(watched_gate(spotting, fail)) as client:
        broken.set()
        assert client.post("/v1/check", json={"text": "good"}).status_code == 500
        _await_status(client, "/health/ready", 503)
        before, start_s = len(runs), time.monotonic()
        for _ in range(200):
            assert client.get("/health/ready").status_code == 503
        assert len(runs) - before <= 2 + time.monotonic() - start_s


def test_a_dead_engine_is_red_for_liveness_and_readiness(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    settings = ServeSettings(engine=EngineTable(max_run_s=0.2))
    with served(held, settings) as client:
        assert client.get("/health/live").status_code == 200
        session.running.clear()
        session.go.clear()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.post, "/v1/check", json={"text": "good"})
            assert session.running.wait(20)
            _await_status(client, "/health/live", 503)
            assert client.get("/v2/health/live").status_code == 503
            assert client.get("/health/ready").status_code == 503
            session.go.set()
            assert answer.result(20).status_code == 200
        _await_status(client, "/health/live", 200)


def test_a_route_that_fails_open_says_so_and_is_counted(spotting: Gate) -> None:
    settings = ServeSettings(fail_open=("litellm",))
    with breaking(spotting, settings) as (client, engine):
        engine.broken = True
        answer = client.post(LITELLM, json={"texts": ["morning"]})
        assert answer.json()["action"] == "NONE"
        assert answer.headers["x-hazgate-failed-open"] == "InferenceError"
        assert client.post("/ext_authz/x", content=b"good").status_code == 500
        assert 'hazgate_failed_open_total{route="litellm"} 1.0' in client.get("/metrics").text
        # A request that cannot be read is refused, even on a route that fails open.
        assert client.post(LITELLM, json={"texts": []}).status_code == 400


def test_a_missed_deadline_is_504(spotting: Gate) -> None:
    settings = ServeSettings(request=RequestTable(timeout_s=1e-9))
    app = create_app(spotting, settings)
    client = TestClient(app, raise_server_exceptions=False)
    assert client.post("/v1/check", json={"text": "good"}).status_code == 504


# The edge


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


def test_the_api_is_described(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/check", "/v1/moderations", "/classify", "/predict", LITELLM} <= set(paths)
    assert client.get("/info").json()["bundle"] == "tiny"
