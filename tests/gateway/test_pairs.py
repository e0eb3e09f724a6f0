"""With `policy.pair` an answer is judged beside the question wherever a protocol brings both."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    ProcessingRequest,
    ProcessingResponse,
    ProtocolConfiguration,
)
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub
from starlette.testclient import TestClient

from benchmarks.harness.ports import free_port
from hazgate import BundleError, Gate
from hazgate.engine.options import EngineOptions
from hazgate.serving.launch import open_served
from hazgate.serving.settings import PolicyTable, ServeSettings, StreamTable
from tests.gateway.test_rpc_streams import DONE, _answered, _event, _headers, _sent
from tests.support.pairs import write_pair_spotter
from tests.support.served import LITELLM, served

BUFFERED, NONE = ProcessingMode.BUFFERED, ProcessingMode.NONE
STREAMED, DUPLEX = ProcessingMode.STREAMED, ProcessingMode.FULL_DUPLEX_STREAMED
Mode = "ProcessingMode.BodySendMode.ValueType"
ASKED, ANSWER = "good morning", "good world"


def _settings(*, pair: bool) -> ServeSettings:
    stream = StreamTable(hold_tokens=4, hold_s=0.2)
    return ServeSettings(grpc_port=free_port(), stream=stream, policy=PolicyTable(pair=pair))


@pytest.fixture(scope="module")
def gate(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    folder = tmp_path_factory.mktemp("pairs")
    return Gate.open(write_pair_spotter(tiny_bundle, folder), engine=EngineOptions(threads=1))


@pytest.fixture(scope="module", params=[True, False], ids=["pair", "alone"])
def both(
    request: pytest.FixtureRequest, gate: Gate
) -> Iterator[tuple[TestClient, grpc.Channel, bool]]:
    settings = _settings(pair=request.param)
    with (
        served(gate, settings) as client,
        grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        yield client, channel, request.param


def _request(*said: str) -> bytes:
    messages = [{"role": "user", "content": text} for text in said]
    return json.dumps({"model": "m", "messages": messages}).encode()


def _response(said: str) -> bytes:
    message = {"role": "assistant", "content": said}
    return json.dumps({"object": "chat.completion", "choices": [{"message": message}]}).encode()


def _exchange(
    channel: grpc.Channel, asked: bytes, said: Sequence[bytes], modes: tuple[int, int], kind: str
) -> list[ProcessingResponse]:
    config = ProtocolConfiguration(request_body_mode=modes[0], response_body_mode=modes[1])
    pieces = [HttpBody(body=piece, end_of_stream=piece is said[-1]) for piece in said]
    messages = [
        ProcessingRequest(request_headers=_headers(), protocol_config=config),
        ProcessingRequest(request_body=HttpBody(body=asked, end_of_stream=True)),
        _answered(kind),
        *(ProcessingRequest(response_body=piece) for piece in pieces),
    ]
    return list(ExternalProcessorStub(channel).Process(iter(messages)))


def test_neither_is_unsafe_alone(gate: Gate) -> None:
    assert not any(verdict.flagged for verdict in gate.check_many([ASKED, ANSWER]))
    assert gate.check(f"user: {ASKED}\nassistant: {ANSWER}").flagged


@pytest.mark.parametrize("mode", [BUFFERED, DUPLEX], ids=["whole", "streamed"])
def test_ext_proc_judges_a_whole_response_beside_its_request(
    both: tuple[TestClient, grpc.Channel, bool], mode: int
) -> None:
    _, channel, pair = both
    for asked, said, blocked in (
        (_request("good", ASKED), ANSWER, pair),
        # It is the last turn that counts.
        (_request(ASKED, "good"), ANSWER, False),
        (_request(ASKED), "good " * 40, False),
        # At the end of a long answer, too.
        (_request(ASKED), "good " * 40 + ANSWER, pair),
    ):
        *_, last = _exchange(channel, asked, [_response(said)], (mode, mode), "application/json")
        assert (last.immediate_response.status.code == 403) is blocked


@pytest.mark.parametrize("mode", [STREAMED, DUPLEX], ids=["streamed", "duplex"])
def test_ext_proc_stops_a_stream_that_is_unsafe_beside_its_request(
    both: tuple[TestClient, grpc.Channel, bool], mode: int
) -> None:
    _, channel, pair = both
    events = [*(_event("good ") for _ in range(30)), _event("wor"), _event("ld "), DONE]
    answers = _exchange(channel, _request(ASKED), events, (BUFFERED, mode), "text/event-stream")
    bodies = [a for a in answers if a.WhichOneof("response") == "response_body"]
    if mode == DUPLEX:
        said, _ = _sent(bodies)
    else:
        said = b"".join(a.response_body.response.body_mutation.body for a in bodies)
    assert said.startswith(_event("good "))
    assert (b"content_filter" in said) is pair
    assert (_event("ld ") in said) is not pair


def test_ext_proc_refuses_to_pair_where_envoy_keeps_the_request(
    both: tuple[TestClient, grpc.Channel, bool],
) -> None:
    _, channel, pair = both
    config = ProtocolConfiguration(request_body_mode=NONE, response_body_mode=BUFFERED)
    first = ProcessingRequest(request_headers=_headers(), protocol_config=config)
    call = ExternalProcessorStub(channel).Process(iter([first]))
    if not pair:
        assert [answer.WhichOneof("response") for answer in call] == ["request_headers"]
        return
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    said = caught.value.details() or ""
    assert "request_body_mode" in said
    assert "policy.pair" in said


def test_litellm_judges_a_response_beside_the_messages_that_came_with_it(
    both: tuple[TestClient, grpc.Channel, bool],
) -> None:
    client, _, pair = both
    messages = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "good"}]
    body = {"texts": [ANSWER], "structured_messages": messages, "input_type": "response"}
    answer = client.post(LITELLM, json=body).json()
    assert answer["action"] == ("BLOCKED" if pair else "NONE")
    alone = {"texts": [ANSWER], "input_type": "response"}
    assert client.post(LITELLM, json=alone).json()["action"] == "NONE"
    assert client.post(LITELLM, json={**body, "input_type": "request"}).json()["action"] == "NONE"


@pytest.mark.parametrize("scope", ["each", "last"])
def test_check_reads_the_answers_of_a_response_beside_their_questions(
    both: tuple[TestClient, grpc.Channel, bool], scope: str
) -> None:
    client, _, pair = both
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "good"},
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": ANSWER},
    ]
    asked = {"messages": messages, "scope": scope}
    answer = client.post("/v1/check", json={**asked, "side": "response"}).json()
    assert answer["flagged"] is pair
    assert answer["decisive"] == 2 or not pair
    *_, last = answer["read"]
    assert last == {"path": "$.messages[2].content", "role": "assistant", "pair": pair}
    assert len(answer["read"]) == len(answer["verdicts"])
    assert client.post("/v1/check", json=asked).json()["flagged"] is False
    later = [*messages[:2], {"role": "user", "content": "good"}, messages[2]]
    body = {"messages": later, "scope": scope, "side": "response"}
    assert client.post("/v1/check", json=body).json()["flagged"] is False


def test_bedrock_judges_an_output_beside_the_query_that_came_with_it(
    both: tuple[TestClient, grpc.Channel, bool],
) -> None:
    client, _, pair = both
    query = {"text": {"text": ASKED, "qualifiers": ["query"]}}
    said = {"text": {"text": ANSWER, "qualifiers": ["guard_content"]}}
    for source, intervenes in (("OUTPUT", pair), ("INPUT", False)):
        body = {"source": source, "content": [query, said]}
        answer = client.post("/guardrail/a/version/1/apply", json=body).json()
        assert answer["action"] == ("GUARDRAIL_INTERVENED" if intervenes else "NONE")


def test_the_server_says_that_it_pairs(both: tuple[TestClient, grpc.Channel, bool]) -> None:
    client, _, pair = both
    assert client.get("/info").json()["pair"] is pair


def test_a_bundle_whose_conversations_name_no_speaker_is_refused(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = write_pair_spotter(tiny_bundle, tmp_path, turn="{content}")
    settings = ServeSettings(policy=PolicyTable(pair=True))
    with pytest.raises(BundleError, match=r"policy\.pair: .*conversation\.turn is '\{content\}'"):
        open_served(bundle, settings)
    unpaired = dataclasses.replace(settings, policy=PolicyTable())
    assert open_served(bundle, unpaired).model.bundle


@pytest.mark.parametrize("value", ['"yes"', "1", "[true]"])
def test_a_setting_that_is_no_truth_value_is_refused_by_name(value: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(f"[policy]\npair = {value}\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"\$\.policy\.pair"):
        ServeSettings.load(file)
