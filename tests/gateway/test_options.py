"""Options of other servers' requests: honoured or refused by name, never ignored."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import ServeSettings

# Of whatever library the test client is built on.
Answer: TypeAlias = Any
MARKER = "unrepeatable"


@pytest.fixture(scope="module")
def client(spotting: Gate) -> Iterator[TestClient]:
    with TestClient(create_app(spotting, ServeSettings())) as client:
        yield client


def _infer(client: TestClient, spotting: Gate, fields: dict[str, object]) -> Answer:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["good"]}
    body = {"inputs": [tensor], **fields}
    return client.post(f"/v2/models/{spotting.model.bundle}/infer", json=body)


# vLLM


@pytest.mark.parametrize(
    "options",
    [
        {"add_special_tokens": True},
        {"use_activation": True},
        {"activation": True},
        {"softmax": True},
        {"use_activation": None, "truncate_prompt_tokens": None},
        {"priority": 0},
        {"user": "u-1", "request_id": "r-1", "model": "any"},
    ],
    ids=str,
)
def test_options_of_vllm_that_ask_for_what_is_done_change_nothing(
    options: dict[str, object], client: TestClient
) -> None:
    plain = client.post("/v1/classify", json={"input": "morning"}).json()["data"]
    answer = client.post("/v1/classify", json={"input": "morning", **options})
    assert answer.status_code == 200
    assert answer.json()["data"] == plain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("truncate_prompt_tokens", 4),
        ("truncate_prompt_tokens", -1),
        ("truncation_side", "left"),
        ("add_special_tokens", False),
        ("use_activation", False),
        ("activation", False),
        ("softmax", False),
        ("priority", 3),
        ("messages", [{"role": "user", "content": "good"}]),
    ],
)
def test_options_of_vllm_that_change_an_answer_are_refused_by_name(
    name: str, value: object, client: TestClient
) -> None:
    answer = client.post("/classify", json={"input": "good", name: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", name)
    assert name in error["message"]


# semantic-router


def test_a_label_distribution_has_every_label_once(client: TestClient, spotting: Gate) -> None:
    body = {"inputs": "good morning", "contract": "label_distribution.v1"}
    answer = client.post("/classify", json=body).json()
    assert [item["label"] for item in answer] == list(spotting.labels)
    assert sum(item["score"] for item in answer) == pytest.approx(1)


def test_a_score_is_one_entry(client: TestClient, spotting: Gate) -> None:
    answer = client.post("/classify", json={"inputs": "morning", "contract": "score.v1"}).json()
    assert answer == [{"label": "unsafe", "score": spotting.check("morning").unsafe}]


def test_the_settings_choose_the_contract_that_semantic_router_does_not_send(
    spotting: Gate,
) -> None:
    settings = ServeSettings(classify_contract="score.v1")
    with TestClient(create_app(spotting, settings)) as client:
        assert len(client.post("/classify", json={"inputs": "good"}).json()) == 1
        body = {"inputs": "good", "contract": "label_distribution.v1"}
        assert len(client.post("/classify", json=body).json()) == 2


def test_a_deadline_that_has_passed_is_an_error_of_the_server(client: TestClient) -> None:
    answer = client.post("/classify", json={"inputs": "good", "deadline_ms": 1e-6})
    assert answer.status_code in (503, 504)
    assert client.post("/classify", json={"inputs": "good", "deadline_ms": 5000}).is_success


@pytest.mark.parametrize(
    "options",
    [
        {"contract": "token_spans.v1"},
        {"deadline_ms": 0},
        {"deadline_ms": -5},
        {MARKER: 1},
    ],
    ids=str,
)
def test_what_semantic_router_does_not_have_is_refused(
    options: dict[str, object], client: TestClient
) -> None:
    answer = client.post("/classify", json={"inputs": "good", **options})
    assert answer.status_code == 400
    assert MARKER not in answer.text


def test_the_router_options_are_refused_beside_vllms_input(client: TestClient) -> None:
    answer = client.post("/classify", json={"input": "good", "contract": "score.v1"})
    assert answer.status_code == 400
    assert "contract" in answer.json()["error"]["message"]


# Text Embeddings Inference


@pytest.mark.parametrize(
    "options",
    [
        {"truncate": False},
        {"truncate": None, "truncation_direction": "left"},
        {"truncation_direction": "Right"},
        {"raw_scores": False},
        {"parameters": {"function_to_apply": "softmax"}},
        {"parameters": None},
    ],
    ids=str,
)
def test_options_of_tei_that_ask_for_what_is_done_change_nothing(
    options: dict[str, object], client: TestClient
) -> None:
    plain = client.post("/predict", json={"inputs": "morning"}).json()
    answer = client.post("/predict", json={"inputs": "morning", **options})
    assert answer.status_code == 200
    assert answer.json() == plain


def test_the_best_labels_alone_are_answered_where_they_are_asked_for(client: TestClient) -> None:
    body = {"inputs": [["good"], ["morning"]], "parameters": {"top_k": 1}}
    answer = client.post("/predict", json=body).json()
    assert [[item["label"] for item in one] for one in answer] == [["safe"], ["unsafe"]]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"raw_scores": True}, "raw_scores"),
        ({"truncate": True}, "truncate"),
        ({"truncation_direction": "middle"}, "truncation_direction"),
        ({"parameters": {"function_to_apply": "none"}}, "function_to_apply"),
        ({"parameters": {"top_k": 0}}, "top_k"),
    ],
)
def test_options_of_tei_that_change_an_answer_are_refused_by_name(
    options: dict[str, object], name: str, client: TestClient
) -> None:
    answer = client.post("/predict", json={"inputs": "good", **options})
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "validation"
    assert name in answer.json()["error"]


# KServe


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"outputs": [{"name": "unsafe", "parameters": {"classification": 2}}]}, "classification"),
        ({"parameters": {"sequence_id": 7}}, "sequence_id"),
        ({"parameters": {"priority": 1}}, "priority"),
        ({"parameters": {MARKER: 1}}, "1 unknown"),
        ({"parameters": {"timeout": -1}}, "timeout"),
        ({MARKER: 1}, "extra_forbidden"),
    ],
)
def test_parameters_of_kserve_are_refused_by_name(
    fields: dict[str, object], name: str, client: TestClient, spotting: Gate
) -> None:
    answer = _infer(client, spotting, fields)
    assert answer.status_code == 400
    assert name in answer.json()["error"]
    assert MARKER not in answer.text


def test_the_timeout_of_kserve_is_kept(client: TestClient, spotting: Gate) -> None:
    assert _infer(client, spotting, {"parameters": {"timeout": 5_000_000}}).is_success
    assert _infer(client, spotting, {"parameters": {"timeout": 1}}).status_code in (503, 504)


# What all of them have in common


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/moderations", {"input": "good", MARKER: "morning"}),
        ("/classify", {"input": "good", MARKER: "morning"}),
        ("/predict", {"inputs": "good", MARKER: "morning"}),
        ("/contentsafety/text:analyze?api-version=2023-10-01", {"text": "good", MARKER: "x"}),
        (
            "/guardrail/g/version/1/apply",
            {"source": "INPUT", "content": [{"text": {"text": "good", MARKER: "morning"}}]},
        ),
    ],
)
def test_a_field_that_nobody_would_read_is_refused(
    path: str, body: dict[str, object], client: TestClient
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert MARKER not in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/moderations", {"input": ""}),
        ("/v1/moderations", {"input": []}),
        ("/v1/moderations", {"input": ["good", ""]}),
        ("/v1/moderations", {"input": [{"type": "text", "text": ""}]}),
        ("/classify", {"inputs": ""}),
        ("/classify", {"input": ""}),
        ("/classify", {"input": []}),
        ("/classify", {"input": ["good", ""]}),
        ("/predict", {"inputs": ""}),
        ("/predict", {"inputs": []}),
        ("/predict", {"inputs": [[]]}),
        ("/predict", {"inputs": [["good"], [""]]}),
        ("/v2/models/tiny/infer", {"inputs": []}),
        ("/contentsafety/text:analyze?api-version=2023-10-01", {"text": ""}),
        ("/guardrail/g/version/1/apply", {"source": "INPUT", "content": []}),
        (
            "/guardrail/g/version/1/apply",
            {"source": "INPUT", "content": [{"text": {"text": ""}}]},
        ),
        ("/guardrail/g/version/1/apply", {"source": "INPUT", "content": [{}]}),
    ],
)
def test_an_empty_input_is_an_error(path: str, body: dict[str, object], client: TestClient) -> None:
    assert client.post(path, json=body).status_code in (400, 422)


def test_an_empty_tensor_is_an_error(client: TestClient, spotting: Gate) -> None:
    for tensor in ({"shape": [0], "data": []}, {"shape": [1], "data": [""]}):
        inputs = [{"name": "text", "datatype": "BYTES", **tensor}]
        assert _infer(client, spotting, {"inputs": inputs}).status_code == 400
