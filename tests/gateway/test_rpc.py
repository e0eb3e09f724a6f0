"""gRPC: KServe's and Envoy's services answer the gate's verdict."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    HttpHeaders,
    HttpTrailers,
    ProcessingRequest,
    ProcessingResponse,
    ProtocolConfiguration,
)
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from benchmarks.harness.ports import free_port
from hazgate import BundleError, Gate
from hazgate.serving.keys import bearer_digest
from hazgate.serving.settings import RequestTable, ServeSettings
from tests.support.served import breaking, served
from tests.support.sessions import held_gate
from tests.support.spotter import MORNING_HAZARD
from tests.support.tiny import HAZARDS


@contextmanager
def _channel(
    gate: Gate, settings: ServeSettings | None = None, key_digests: tuple[bytes, ...] = ()
) -> Iterator[grpc.Channel]:
    settings = settings or ServeSettings(grpc_port=free_port())
    with (
        served(gate, settings, key_digests),
        grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        yield channel


@pytest.fixture(scope="module")
def channel(spotting: Gate) -> Iterator[grpc.Channel]:
    with _channel(spotting) as channel:
        yield channel


def _infer(name: str, texts: list[bytes]) -> protocol.ModelInferRequest:
    tensor = protocol.ModelInferRequest.InferInputTensor(
        name="text", datatype="BYTES", shape=[len(texts)]
    )
    tensor.contents.bytes_contents.extend(texts)
    return protocol.ModelInferRequest(model_name=name, id="42", inputs=[tensor])


def test_kserve_over_grpc_answers_the_gates_verdict(channel: grpc.Channel, spotting: Gate) -> None:
    stub = GRPCInferenceServiceStub(channel)
    name = spotting.model.bundle
    assert stub.ServerLive(protocol.ServerLiveRequest()).live
    assert stub.ServerReady(protocol.ServerReadyRequest()).ready
    assert stub.ModelReady(protocol.ModelReadyRequest(name=name)).ready
    assert stub.ServerMetadata(protocol.ServerMetadataRequest()).name == "hazgate"
    metadata = stub.ModelMetadata(protocol.ModelMetadataRequest(name=name))
    assert [tensor.name for tensor in metadata.outputs] == ["unsafe", "flagged"]
    answer = stub.ModelInfer(_infer(name, [b"good", b"morning"]))
    unsafe, flagged = answer.raw_output_contents
    expected = [spotting.check(text).unsafe for text in ("good", "morning")]
    assert np.frombuffer(unsafe, np.float32).tolist() == np.asarray(expected, np.float32).tolist()
    assert np.frombuffer(flagged, np.bool_).tolist() == [False, True]
    assert answer.id == "42"


@pytest.mark.parametrize(
    ("name", "texts", "code"),
    [
        ("other", [b"good"], grpc.StatusCode.NOT_FOUND),
        ("tiny", [b"\xff"], grpc.StatusCode.INVALID_ARGUMENT),
        ("tiny", [b"a " * 131_073], grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_an_invalid_kserve_request_has_a_status(
    channel: grpc.Channel, name: str, texts: list[bytes], code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ModelInfer(_infer(name, texts))
    assert caught.value.code() == code


def _check(channel: grpc.Channel, body: bytes, **headers: str) -> tuple[int, int]:
    request = CheckRequest()
    request.attributes.request.http.method = "POST"
    request.attributes.request.http.raw_body = body
    for key, value in headers.items():
        request.attributes.request.http.headers[key.replace("_", "-")] = value
    answer = AuthorizationStub(channel).Check(request)
    return answer.status.code, answer.denied_response.status.code


def test_envoys_authorization_passes_denies_and_refuses_unreadable_bodies(
    channel: grpc.Channel,
) -> None:
    denied = grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert _check(channel, b"good") == (0, 0)
    assert _check(channel, b"good morning") == (denied, 403)
    assert _check(channel, b"\xff") == (denied, 400)
    assert _check(channel, b"") == (denied, 400)
    assert _check(channel, b"good", x_envoy_auth_partial_body="true") == (denied, 400)


def test_envoys_authorization_passes_a_request_that_says_that_it_has_no_body(
    channel: grpc.Channel,
) -> None:
    denied = grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert _check(channel, b"", content_length="0") == (0, 0)
    assert _check(channel, b"", content_length="17") == (denied, 400)
    assert _check(channel, b"", content_length="0", transfer_encoding="chunked") == (denied, 400)
    assert _check(channel, b"good morning", content_length="0") == (denied, 403)


PRELOAD = b'{"model": "llama3.2"}'


@pytest.mark.parametrize(
    ("path", "body", "is_passed"),
    [
        ("/api/generate", PRELOAD, True),
        ("/v1/threads", b"{}", True),
        ("/v1/chat/completions", PRELOAD, False),
        ("/api/generate", b'{"model": "llama3.2", "prompt": "good morning"}', False),
    ],
)
def test_envoys_processor_passes_requests_that_may_lack_text_at_their_paths(
    channel: grpc.Channel, path: str, body: bytes, is_passed: bool
) -> None:
    first = ProcessingRequest(request_headers=HttpHeaders())
    header = first.request_headers.headers.headers.add()
    header.key, header.value = ":path", path
    answers = _process(channel, first, _asked(body))
    assert (answers[-1].WhichOneof("response") == "request_body") is is_passed


def _process(channel: grpc.Channel, *messages: ProcessingRequest) -> list[ProcessingResponse]:
    return list(ExternalProcessorStub(channel).Process(iter(messages)))


def _asked(body: bytes, *, whole: bool = True) -> ProcessingRequest:
    return ProcessingRequest(request_body=HttpBody(body=body, end_of_stream=whole))


def test_envoys_processor_reads_the_request_and_the_response(channel: grpc.Channel) -> None:
    answer = json.dumps({"choices": [{"message": {"content": "good world"}}]}).encode()
    headers, question, back, said, trailers = _process(
        channel,
        ProcessingRequest(request_headers=HttpHeaders()),
        _asked(b'{"prompt": "good"}'),
        ProcessingRequest(response_headers=HttpHeaders()),
        ProcessingRequest(response_body=HttpBody(body=answer, end_of_stream=True)),
        ProcessingRequest(response_trailers=HttpTrailers()),
    )
    removed = headers.request_headers.response.header_mutation.remove_headers
    assert list(removed) == ["accept-encoding"]
    assert question.WhichOneof("response") == "request_body"
    assert question.dynamic_metadata["hazgate"]["blocked"] is False
    assert back.WhichOneof("response") == "response_headers"
    assert said.immediate_response.status.code == 403
    assert b"world" not in said.immediate_response.body
    assert trailers.WhichOneof("response") == "response_trailers"


def test_envoys_processor_blocks_a_flagged_body_and_refuses_a_cut_one(
    channel: grpc.Channel,
) -> None:
    (blocked,) = _process(channel, _asked(b'{"prompt": "morning"}'))
    assert blocked.immediate_response.status.code == 403
    assert HAZARDS[MORNING_HAZARD].encode() in blocked.immediate_response.body
    (cut,) = _process(channel, _asked(b"good", whole=False))
    assert cut.immediate_response.status.code == 400


def test_a_whole_body_followed_by_trailers_is_read(channel: grpc.Channel) -> None:
    config = ProtocolConfiguration(request_body_mode=ProcessingMode.BUFFERED)
    first = ProcessingRequest(request_headers=HttpHeaders(), protocol_config=config)
    _, passed = _process(channel, first, _asked(b'{"prompt": "good"}', whole=False))
    assert passed.WhichOneof("response") == "request_body"
    _, blocked = _process(channel, first, _asked(b'{"prompt": "morning"}', whole=False))
    assert blocked.immediate_response.status.code == 403


def test_a_processor_that_would_get_no_body_refuses(channel: grpc.Channel) -> None:
    first = ProcessingRequest(
        request_headers=HttpHeaders(), protocol_config=ProtocolConfiguration()
    )
    with pytest.raises(grpc.RpcError) as caught:
        _process(channel, first)
    assert "NONE and NONE" in str(caught.value.details())


def test_a_streamed_body_can_be_observed(channel: grpc.Channel) -> None:
    config = ProtocolConfiguration(request_body_mode=ProcessingMode.STREAMED)
    first = ProcessingRequest(request_headers=HttpHeaders(), protocol_config=config)
    watched = [_asked(b"good ", whole=False), _asked(b"morning")]
    for message in (first, *watched):
        message.observability_mode = True
    assert _process(channel, first, *watched) == []


def test_without_a_verdict_the_call_fails(spotting: Gate) -> None:
    settings = ServeSettings(grpc_port=free_port())
    with (
        breaking(spotting, settings) as (_, engine),
        grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        engine.broken = True
        with pytest.raises(grpc.RpcError) as caught:
            _check(channel, b"good")
        assert caught.value.code() == grpc.StatusCode.INTERNAL
        with pytest.raises(grpc.RpcError):
            _process(channel, _asked(b"good"))
        stub = health_pb2_grpc.HealthStub(channel)
        states = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        health = stub.Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        engine.broken = False
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        states.cancel()


def test_a_route_that_fails_open_passes_and_says_so(spotting: Gate) -> None:
    settings = ServeSettings(grpc_port=free_port(), fail_open=("ext_authz", "ext_proc"))
    with (
        breaking(spotting, settings) as (client, engine),
        grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        engine.broken = True
        assert _check(channel, b"good") == (0, 0)
        (passed,) = _process(channel, _asked(b"good"))
        assert passed.dynamic_metadata["hazgate"]["failed_open"] == "InferenceError"
        # A body that cannot be read is refused all the same.
        assert _check(channel, b"\xff")[1] == 400
        assert 'hazgate_failed_open_total{route="ext_proc"} 1.0' in client.get("/metrics").text


def test_without_a_known_key_only_health_is_answered(spotting: Gate) -> None:
    digest = bearer_digest("Bearer secret")
    assert digest is not None
    with _channel(spotting, key_digests=(digest,)) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(protocol.ServerReadyRequest()).ready
        for call in (
            lambda: stub.ServerMetadata(protocol.ServerMetadataRequest()),
            lambda: _process(channel, _asked(b"good")),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = (("authorization", "Bearer secret"),)
        answer = stub.ServerMetadata(protocol.ServerMetadataRequest(), metadata=metadata)
        assert answer.name == "hazgate"


def test_a_callers_deadline_is_kept(spotting: Gate) -> None:
    settings = ServeSettings(grpc_port=free_port(), request=RequestTable(timeout_s=60))
    held, session = held_gate(spotting)
    # The server reads its warm-up texts first. The deadline is longer than the queue expects a
    # text to take after slow ones: else it would refuse at once.
    session.go.set()
    with _channel(held, settings) as channel:
        session.go.clear()
        try:
            with pytest.raises(grpc.RpcError) as caught:
                GRPCInferenceServiceStub(channel).ModelInfer(_infer("tiny", [b"good"]), timeout=2)
        finally:
            session.go.set()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_address_that_cannot_be_used_is_a_bundle_error(spotting: Gate, tmp_path: Path) -> None:
    settings = ServeSettings(grpc_port=free_port(), host="256.0.0.1")
    with pytest.raises(BundleError, match="gRPC cannot listen"), _channel(spotting, settings):
        pass
