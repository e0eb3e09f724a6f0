"""A bundle of one level behind the server: labels everywhere, verdicts only where it states one."""

import dataclasses
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub
from envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub
from starlette.testclient import TestClient

from benchmarks.harness.ports import free_port
from benchmarks.harness.server import ServerCommand, running
from hazgate import BundleError
from hazgate.judge import Judge
from hazgate.serving.http.app import create_app
from hazgate.serving.launch import open_served, rpc_server
from hazgate.serving.settings import EngineTable, PolicyTable, ServeSettings
from tests.support.lone import (
    INTENT,
    JAILBREAK,
    VELA_HAZARDS,
    write_intent,
    write_jailbreak,
    write_vela_hazards,
)

TEXTS = ["good", "good morning", "world"]
ASKED = {"inputs": "good"}
LITELLM = "/beta/litellm_basic_guardrail_api"
SETTINGS = ServeSettings(engine=EngineTable(threads=1))
# Routes that have no answer without a verdict, with a body that each of them takes.
VERDICT_ROUTES = {
    "/v1/check": {"text": "good"},
    "/v1/moderations": {"input": "good"},
    LITELLM: {"texts": ["good"]},
    "/request": {"body": {"messages": [{"role": "user", "content": "good"}]}},
    "/response": {"body": {"choices": [{"message": {"role": "assistant", "content": "good"}}]}},
    "/ext_authz/v1/chat/completions": {"messages": [{"role": "user", "content": "good"}]},
}


@dataclass(frozen=True)
class Served:
    """A server of one bundle: what answers, its HTTP client, its gRPC channel."""

    judge: Judge
    client: TestClient
    channel: grpc.Channel


@pytest.fixture(scope="module")
def servers(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Served]]:
    folder = tmp_path_factory.mktemp("lone")
    found = {}
    with ExitStack() as stack:
        for write in (write_jailbreak, write_intent, write_vela_hazards):
            settings = dataclasses.replace(SETTINGS, grpc_port=free_port())
            judge = open_served(write(tiny_bundle, folder), settings)
            app = create_app(judge, settings, companion=rpc_server)
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            channel = grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}")
            stack.enter_context(channel)
            found[judge.model.bundle] = Served(judge=judge, client=client, channel=channel)
        yield found


LABELS = {"jailbreak": JAILBREAK, "intent": INTENT, "vela": VELA_HAZARDS}
HOLDS = {
    "jailbreak": [{"benign"}, {"jailbreak"}, {"jailbreak"}],
    "intent": [{"chat"}, {"code"}, {"maths"}],
    "vela": [set(), {"H3"}, {"H5"}],
}


# Labels


@pytest.mark.parametrize("name", LABELS)
def test_classify_and_predict_have_every_label_with_its_own_score(
    servers: dict[str, Served], name: str
) -> None:
    server = servers[name]
    vllm = server.client.post("/classify", json={"input": TEXTS}).json()
    assert vllm["model"] == name
    for text, result in zip(TEXTS, vllm["data"], strict=True):
        router = server.client.post("/classify", json={"inputs": text}).json()
        assert [item["label"] for item in router] == list(LABELS[name])
        assert [item["score"] for item in router] == result["probs"]
        assert result["num_classes"] == len(LABELS[name])
        assert result["label"] == LABELS[name][int(np.argmax(result["probs"]))]
        tei = server.client.post("/predict", json={"inputs": text}).json()
        assert sorted(tei, key=lambda item: -item["score"]) == tei
        assert {item["label"]: item["score"] for item in tei} == dict(
            zip(LABELS[name], result["probs"], strict=True)
        )
    if name == "vela":
        assert vllm["data"][1]["probs"][2:4] == pytest.approx([0.731, 0.731], abs=1e-3)
    else:
        assert [sum(result["probs"]) for result in vllm["data"]] == pytest.approx([1] * 3)


@pytest.mark.parametrize("name", LABELS)
def test_kserve_over_http_names_scores_and_decides_each_label(
    servers: dict[str, Served], name: str
) -> None:
    server, labels = servers[name], LABELS[name]
    metadata = server.client.get(f"/v2/models/{name}").json()
    shapes = {tensor["name"]: tensor["shape"] for tensor in metadata["outputs"]}
    assert shapes["labels"] == [len(labels)]
    assert shapes["scores"] == shapes["holds"] == [-1, len(labels)]
    assert ("unsafe" in shapes) == ("flagged" in shapes) == (name == "jailbreak")
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    answer = server.client.post(f"/v2/models/{name}/infer", json={"inputs": [tensor]}).json()
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert set(outputs) == set(shapes)
    assert outputs["labels"]["data"] == list(labels)
    assert outputs["holds"]["shape"] == outputs["scores"]["shape"] == [3, len(labels)]
    holds = np.reshape(outputs["holds"]["data"], (3, len(labels)))
    assert [{labels[i] for i in np.flatnonzero(row)} for row in holds] == HOLDS[name]
    vllm = server.client.post("/classify", json={"input": TEXTS}).json()
    assert outputs["scores"]["data"] == [p for each in vllm["data"] for p in each["probs"]]


@pytest.mark.parametrize("name", LABELS)
def test_kserve_over_grpc_answers_as_over_http(servers: dict[str, Served], name: str) -> None:
    server, labels = servers[name], LABELS[name]
    stub = GRPCInferenceServiceStub(server.channel)
    metadata = stub.ModelMetadata(protocol.ModelMetadataRequest(name=name))
    assert {tensor.name: list(tensor.shape) for tensor in metadata.outputs}["scores"] == [
        -1,
        len(labels),
    ]
    tensor = protocol.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[3])
    tensor.contents.bytes_contents.extend([text.encode() for text in TEXTS])
    wanted = [
        protocol.ModelInferRequest.InferRequestedOutputTensor(name=each)
        for each in ("labels", "scores", "holds")
    ]
    answer = stub.ModelInfer(
        protocol.ModelInferRequest(model_name=name, inputs=[tensor], outputs=wanted)
    )
    raw = dict(zip((o.name for o in answer.outputs), answer.raw_output_contents, strict=True))
    packed = b"".join(len(label).to_bytes(4, "little") + label.encode() for label in labels)
    assert raw["labels"] == packed
    vllm = server.client.post("/classify", json={"input": TEXTS}).json()
    expected = np.array([each["probs"] for each in vllm["data"]], dtype=np.float32)
    np.testing.assert_array_equal(np.frombuffer(raw["scores"], np.float32), expected.ravel())
    holds = np.frombuffer(raw["holds"], np.bool_).reshape(3, len(labels))
    assert [{labels[i] for i in np.flatnonzero(row)} for row in holds] == HOLDS[name]


# Verdicts


def test_a_level_with_a_positive_label_blocks_as_any_gate(servers: dict[str, Served]) -> None:
    client = servers["jailbreak"].client
    checked = client.post("/v1/check", json={"texts": TEXTS}).json()
    assert [verdict["flagged"] for verdict in checked["verdicts"]] == [False, True, True]
    assert checked["verdicts"][1]["scores"]["jailbreak"] == checked["verdicts"][1]["unsafe"]
    for text, blocked in zip(TEXTS, (False, True, True), strict=True):
        moderated = client.post("/v1/moderations", json={"input": text}).json()["results"][0]
        assert moderated["flagged"] is blocked
        litellm = client.post(LITELLM, json={"texts": [text]}).json()
        assert litellm["action"] == ("BLOCKED" if blocked else "NONE")
        said = {"messages": [{"role": "user", "content": text}]}
        authorized = client.post("/ext_authz/v1/chat/completions", json=said)
        assert authorized.status_code == (403 if blocked else 200)
        action = client.post("/request", json={"body": said}).json()["action"]
        assert ("status_code" in action) is blocked
    info = client.get("/info").json()
    assert (info["level"], info["labels"], info["hazards"]) == ("jailbreak", list(JAILBREAK), [])
    with client.websocket_connect("/v1/watch") as socket:
        socket.send_json({"text": "good morning", "end": True})
        assert socket.receive_json()["unsafe"] is True


@pytest.mark.parametrize("name", ["intent", "vela"])
@pytest.mark.parametrize("route", VERDICT_ROUTES)
def test_without_a_positive_label_no_route_lets_a_text_pass(
    servers: dict[str, Served], name: str, route: str
) -> None:
    answer = servers[name].client.post(route, json=VERDICT_ROUTES[route])
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert f"level {name} states no positive label" in error["message"]
    assert "ask /classify, /predict or /v2" in error["message"]
    # Not a body that a gateway could read as a pass.
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("name", ["intent", "vela"])
def test_nor_does_envoy_over_grpc_or_a_growing_text(servers: dict[str, Served], name: str) -> None:
    server = servers[name]
    for body in (b"good", b""):
        asked = CheckRequest()
        asked.attributes.request.http.method = "GET"
        asked.attributes.request.http.raw_body = body
        answer = AuthorizationStub(server.channel).Check(asked)
        assert answer.status.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
        assert answer.denied_response.status.code == 400
    # Headers have no text, and nothing that follows them would be read.
    headers = ProcessingRequest(request_headers=HttpHeaders(end_of_stream=True))
    (processed,) = ExternalProcessorStub(server.channel).Process(iter([headers]))
    assert processed.immediate_response.status.code == 400
    with server.client.websocket_connect("/v1/watch") as socket:
        assert "states no positive label" in socket.receive_json()["error"]["message"]


def test_its_metrics_count_labels_and_never_a_safe_verdict(servers: dict[str, Served]) -> None:
    client = servers["intent"].client
    client.post("/classify", json={"inputs": "good morning"})
    lines = client.get("/metrics").text.splitlines()
    assert any(line.startswith('hazgate_labels_total{label="code"}') for line in lines)
    assert not any(line.startswith("hazgate_verdicts_total{") for line in lines)
    assert client.get("/health/ready").json()["ready"] is True
    info = client.get("/info").json()
    assert info["threshold"] is None
    assert info["labels"] == list(INTENT)
    assert json.dumps(info)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (dataclasses.replace(SETTINGS, fail_open=("litellm",)), "leave fail_open out"),
        (dataclasses.replace(SETTINGS, policy=PolicyTable(file="policy.toml")), "the policies"),
        (dataclasses.replace(SETTINGS, policy=PolicyTable(pair=True)), r"policy\.pair: .*leave"),
    ],
    ids=["fails open", "policy", "pair"],
)
def test_settings_that_need_a_verdict_are_refused_before_anything_is_served(
    tiny_bundle: Path, tmp_path: Path, settings: ServeSettings, named: str
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(
        'schema_version = 1\nname = "p"\nmode = "strict"\n'
        "gate = { controversial = 0.2, unsafe = 0.9 }\n"
        'hazards.default = { action = "block", threshold = 0.0 }\n',
        encoding="utf-8",
    )
    if settings.policy.file:
        settings = dataclasses.replace(settings, policy=PolicyTable(file=str(file)))
    with pytest.raises(BundleError, match=named):
        open_served(write_intent(tiny_bundle, tmp_path), settings)


@pytest.mark.parametrize("first", ["intent", "jailbreak"])
def test_a_bundle_of_another_kind_is_not_swapped_in(
    tiny_bundle: Path, tmp_path: Path, first: str
) -> None:
    """Routes that allow and block were set up for one kind, and callers ask for it."""
    writers = {"intent": write_intent, "jailbreak": write_jailbreak}
    bundles = {name: write(tiny_bundle, tmp_path / "of") for name, write in writers.items()}
    (second,) = writers.keys() - {first}
    served = tmp_path / "served"
    shutil.copytree(bundles[first], served)
    said = tmp_path / "stderr"
    command = ServerCommand(
        name="hazgate serve",
        command=[
            *("sh", "-c", 'exec "$@" 2> "$0"', said),
            *(sys.executable, "-m", "hazgate", "serve", served),
        ],
        ready_path="/health/ready",
    )
    with running(command) as server, httpx.Client(base_url=server.url) as client:
        statuses = [client.post("/v1/check", json={"text": "good"}).status_code]
        shutil.rmtree(served)
        shutil.copytree(bundles[second], served)
        server.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 60
        while b"reload" not in said.read_bytes():
            assert time.monotonic() < until, said.read_text(encoding="utf-8")
            time.sleep(0.05)
        statuses.append(client.post("/v1/check", json={"text": "good"}).status_code)
        labels = [item["label"] for item in client.post("/classify", json=ASKED).json()]
    assert labels == list(LABELS[first])
    assert statuses == [400 if first == "intent" else 200] * 2
    assert b"only one of both bundles gives verdicts; start a new server" in said.read_bytes()


def test_a_level_of_several_is_served_by_name(tiny_bundle: Path) -> None:
    named = dataclasses.replace(SETTINGS, engine=EngineTable(threads=1, level="level2"))
    judge = open_served(tiny_bundle, named)
    with TestClient(create_app(judge, named)) as client:
        scores = client.post("/classify", json={"inputs": "hello"}).json()
        assert len(scores) == 9
