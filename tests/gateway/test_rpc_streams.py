"""Envoy's streamed modes over gRPC: pieces are held back, judged, and released or replaced."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    HttpHeaders,
    HttpTrailers,
    ProcessingRequest,
    ProcessingResponse,
    ProtocolConfiguration,
)
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub
from starlette.testclient import TestClient

from benchmarks.harness.ports import free_port
from hazgate import EngineOptions, Gate, Policy
from hazgate.serving.settings import RequestTable, ServeSettings, StreamTable
from tests.support.served import breaking, served
from tests.support.tagger import LEVEL, write_tagged_panel

HOLD_S = 0.2
STREAMED, DUPLEX = ProcessingMode.STREAMED, ProcessingMode.FULL_DUPLEX_STREAMED


def _settings(**changes: object) -> ServeSettings:
    stream = StreamTable(hold_tokens=4, hold_s=HOLD_S)
    return ServeSettings(grpc_port=free_port(), stream=stream, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both(spotting: Gate) -> Iterator[tuple[TestClient, grpc.Channel]]:
    settings = _settings()
    with (
        served(spotting, settings) as client,
        grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        yield client, channel


@pytest.fixture(scope="module")
def channel(both: tuple[TestClient, grpc.Channel]) -> grpc.Channel:
    return both[1]


def _headers(**values: str) -> HttpHeaders:
    pairs = [
        HeaderValue(key=key.replace("_", "-"), raw_value=value.encode())
        for key, value in values.items()
    ]
    return HttpHeaders(headers=HeaderMap(headers=pairs))


def _first(mode: "ProcessingMode.BodySendMode.ValueType") -> ProcessingRequest:
    config = ProtocolConfiguration(request_body_mode=mode, response_body_mode=mode)
    return ProcessingRequest(request_headers=_headers(), protocol_config=config)


def _answered(kind: str = "text/event-stream") -> ProcessingRequest:
    return ProcessingRequest(response_headers=_headers(content_type=kind, content_length="9"))


def _said(body: bytes, *, end: bool = False) -> ProcessingRequest:
    return ProcessingRequest(response_body=HttpBody(body=body, end_of_stream=end))


def _event(word: str) -> bytes:
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    event = {"object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return f"data: {json.dumps(event)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def _process(
    channel: grpc.Channel, messages: Iterable[ProcessingRequest], *, pause_s: float = 0.0
) -> list[ProcessingResponse]:
    def paced() -> Iterator[ProcessingRequest]:
        for message in messages:
            yield message
            time.sleep(pause_s)

    return list(ExternalProcessorStub(channel).Process(paced()))


def _replaced(answers: Sequence[ProcessingResponse]) -> list[bytes]:
    """Return the bytes that take the place of each piece (STREAMED)."""
    mutations = [a.response_body.response.body_mutation for a in answers]
    assert {m.WhichOneof("mutation") for m in mutations} <= {"body", "clear_body"}
    return [mutation.body for mutation in mutations]


def _sent(answers: Sequence[ProcessingResponse]) -> tuple[bytes, list[bool]]:
    """Return the bytes that were sent on and the end marks (FULL_DUPLEX_STREAMED)."""
    pieces = [a.response_body.response.body_mutation.streamed_response for a in answers]
    return b"".join(piece.body for piece in pieces), [piece.end_of_stream for piece in pieces]


def test_each_streamed_piece_is_answered_and_a_harmless_stream_arrives_whole(
    channel: grpc.Channel,
) -> None:
    events = [*(_event("good ") for _ in range(10)), DONE]
    pieces = [_said(event, end=event is DONE) for event in events]
    _, headers, *answers = _process(channel, [_first(STREAMED), _answered(), *pieces])
    removed = headers.response_headers.response.header_mutation.remove_headers
    assert list(removed) == ["content-length"]
    replaced = _replaced(answers)
    assert len(replaced) == len(events)
    assert b"".join(replaced) == b"".join(events)
    # It is no body that waits for its end.
    assert any(replaced[:-1])
    assert answers[-1].dynamic_metadata["hazgate"]["blocked"] is False


def test_an_unsafe_streamed_answer_ends_in_the_apis_form_and_its_rest_goes_nowhere(
    channel: grpc.Channel,
) -> None:
    words = ["good "] * 6 + ["mor", "ning "] + ["good "] * 9
    events = [*map(_event, words), DONE]
    pieces = [_said(event, end=event is DONE) for event in events]
    _, _, *answers = _process(channel, [_first(STREAMED), _answered(), *pieces])
    replaced = _replaced(answers)
    assert len(replaced) == len(events)
    body = b"".join(replaced)
    assert b"ning " not in body
    assert body.endswith(DONE)
    last = json.loads(body.split(b"data: ")[-2])["choices"][0]
    assert last["finish_reason"] == "content_filter"
    assert last["delta"]["refusal"].startswith("Blocked by the safety gate")
    blocked = [a for a in answers if a.dynamic_metadata.fields]
    assert blocked[-1].dynamic_metadata["hazgate"]["blocked"] is True


def test_in_full_duplex_an_unsafe_beginning_has_a_status(channel: grpc.Channel) -> None:
    events = [_event("morning "), DONE]
    pieces = [_said(event, end=event is DONE) for event in events]
    answers = _process(channel, [_first(DUPLEX), _answered(), *pieces])
    (refused,) = answers
    assert refused.immediate_response.status.code == 403


def test_in_full_duplex_a_harmless_stream_is_released_while_it_comes(channel: grpc.Channel) -> None:
    asked = json.dumps({"messages": [{"role": "user", "content": "good"}]}).encode()
    events = [*(_event("good ") for _ in range(10)), DONE]
    answers = _process(
        channel,
        [
            _first(DUPLEX),
            ProcessingRequest(request_body=HttpBody(body=asked[:9])),
            ProcessingRequest(request_body=HttpBody(body=asked[9:], end_of_stream=True)),
            _answered(),
            *(_said(event, end=event is DONE) for event in events),
        ],
    )
    kinds = [answer.WhichOneof("response") for answer in answers]
    assert kinds[:3] == ["request_headers", "request_body", "response_headers"]
    sent = answers[1].request_body.response.body_mutation.streamed_response
    assert (sent.body, sent.end_of_stream) == (asked, True)
    body, ends = _sent(answers[3:])
    assert body == b"".join(events)
    assert len(ends) > 2
    assert ends == [False] * (len(ends) - 1) + [True]


def test_in_full_duplex_a_stream_that_turns_unsafe_ends_in_its_own_form(
    channel: grpc.Channel,
) -> None:
    events = [*(_event("good ") for _ in range(9)), _event("morning "), _event("good ")]
    answers = _process(
        channel, [_first(DUPLEX), _answered(), *map(_said, events), _said(DONE, end=True)]
    )
    body, ends = _sent([a for a in answers if a.WhichOneof("response") == "response_body"])
    assert b"morning" not in body
    assert b"content_filter" in body
    assert ends[-1] is True
    assert sum(ends) == 1


@pytest.mark.parametrize("mode", [STREAMED, DUPLEX])
def test_an_unsafe_streamed_request_never_reaches_the_model(
    channel: grpc.Channel, mode: "ProcessingMode.BodySendMode.ValueType"
) -> None:
    asked = json.dumps({"messages": [{"role": "user", "content": "good morning"}]}).encode()
    messages = [
        _first(mode),
        ProcessingRequest(request_body=HttpBody(body=asked[:30])),
        ProcessingRequest(request_body=HttpBody(body=asked[30:], end_of_stream=True)),
    ]
    answers = _process(channel, messages)
    assert answers[-1].immediate_response.status.code == 403
    passed = [a.request_body.response.body_mutation for a in answers[:-1]]
    assert {mutation.body for mutation in passed} <= {b""}


def test_what_came_is_released_after_a_time_though_it_is_little(channel: grpc.Channel) -> None:
    pieces = [_said(_event("good ")), _said(DONE, end=True)]
    _, _, first, last = _process(
        channel, [_first(STREAMED), _answered(), *pieces], pause_s=3 * HOLD_S
    )
    assert _replaced([first, last]) == [_event("good "), DONE]


def test_a_piece_with_half_an_event_is_answered_in_time_and_released_later(
    channel: grpc.Channel,
) -> None:
    event = _event("good ")
    pieces = [_said(event[:20]), _said(event[20:] + DONE, end=True)]
    _, _, *answers = _process(channel, [_first(STREAMED), _answered(), *pieces], pause_s=2 * HOLD_S)
    assert _replaced(answers) == [b"", event + DONE]


@pytest.mark.parametrize("mode", [STREAMED, DUPLEX])
def test_trailers_end_a_body(
    channel: grpc.Channel, mode: "ProcessingMode.BodySendMode.ValueType"
) -> None:
    event = _event("good ")
    trailers = ProcessingRequest(response_trailers=HttpTrailers())
    answers = _process(channel, [_first(mode), _answered(), _said(event), trailers])
    assert answers[-1].WhichOneof("response") == "response_trailers"
    body = answers[-2].response_body.response.body_mutation
    assert (body.body if mode == STREAMED else body.streamed_response.body) == event
    assert body.streamed_response.end_of_stream is False


def test_an_unreadable_stream_ends_with_the_reason(channel: grpc.Channel) -> None:
    pieces = [_said(_event("good ") * 5), _said(b"data: {broken\n\n"), _said(DONE, end=True)]
    _, _, *answers = _process(channel, [_first(STREAMED), _answered(), *pieces])
    body = b"".join(_replaced(answers))
    assert body.startswith(_event("good ") * 5)
    assert b"broken" not in body
    assert b"cannot be read" in body


def test_without_a_verdict_a_stream_that_began_ends_and_says_so(spotting: Gate) -> None:
    settings = _settings(request=RequestTable(timeout_s=5))
    with (
        breaking(spotting, settings) as (client, engine),
        grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):

        def messages() -> Iterator[ProcessingRequest]:
            yield _first(DUPLEX)
            yield _answered()
            yield _said(_event("good ") * 5)
            time.sleep(1)
            engine.broken = True
            yield _said(_event("good ") * 5, end=True)

        answers = list(ExternalProcessorStub(channel).Process(messages()))
        body, ends = _sent([a for a in answers if a.WhichOneof("response") == "response_body"])
        assert body.startswith(_event("good ") * 5)
        assert body.count(_event("good ")) == 5
        assert b'data: {"error": ' in body
        assert ends[-1] is True
        metrics = client.get("/metrics").text
    assert 'hazgate_streams_total{outcome="inference_failed",side="response"} 1.0' in metrics


def test_released_bytes_and_delays_are_counted(both: tuple[TestClient, grpc.Channel]) -> None:
    client, channel = both

    @contextmanager
    def grown(name: str) -> Iterator[list[float]]:
        def read() -> float:
            lines = client.get("/metrics").text.splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

        before, found = read(), list[float]()
        yield found
        found.append(read() - before)

    event = _event("good ")
    bad = _event("morning ")
    released = 'hazgate_stream_bytes_total{released="true",side="response"}'
    withheld = 'hazgate_stream_bytes_total{released="false",side="response"}'
    delays = 'hazgate_stream_delay_seconds_count{side="response"}'
    with grown(released) as passed, grown(withheld) as stopped, grown(delays) as counted:
        _process(channel, [_first(STREAMED), _answered(), _said(event * 5), _said(bad, end=True)])
    assert (passed, stopped, counted) == ([5 * len(event)], [len(bad)], [1])


# "good" is a name.
_MASKS = f"""schema_version = 1
name = "masks"
mode = "strict"
[gate]
controversial = 0.5
unsafe = 0.5
[hazards]
default = {{ action = "block", threshold = 0.9 }}
[levels.{LEVEL}]
action = "mask"
"""


def test_a_stream_in_which_a_span_is_found_is_blocked_and_not_masked(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = write_tagged_panel(tiny_bundle, tmp_path)
    gate = Gate.open(folder, engine=EngineOptions(threads=1), policy=Policy.parse(_MASKS.encode()))
    settings = _settings()
    events = [*map(_event, [*["or "] * 12, "go", "od ", *["or "] * 9]), DONE]
    pieces = [_said(event, end=event is DONE) for event in events]
    with (
        served(gate, settings),
        grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        _, _, *answers = _process(channel, [_first(STREAMED), _answered(), *pieces])
    body = b"".join(_replaced(answers))
    assert b"od " not in body
    assert b"[NAME]" not in body
    last = json.loads(body.split(b"data: ")[-2])["choices"][0]
    assert last["finish_reason"] == "content_filter"
