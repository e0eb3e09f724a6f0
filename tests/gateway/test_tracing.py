"""Spans reach a real OTLP endpoint within the caller's trace and hold nothing of a text."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hazgate import Gate
from hazgate.serving.settings import ServeSettings
from tests.support.answering import answering
from tests.support.served import MARKER, served

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with answering(Collector) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield bodies


def test_a_request_is_a_span_of_the_callers_trace_and_a_probe_is_not(
    spotting: Gate, collected: list[bytes]
) -> None:
    with served(spotting, ServeSettings(traces=True)) as client:
        client.get("/health/ready")
        client.post(
            "/v1/check",
            json={"text": f"morning {MARKER}"},
            headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-request-id": "abc-1"},
        )
    (span,) = _spans(collected)
    assert span.trace_id.hex() == TRACE
    attributes = {a.key: a.value for a in span.attributes}
    assert attributes["hazgate.request_id"].string_value == "abc-1"
    assert attributes["hazgate.outcome"].string_value == "ok"
    assert attributes["hazgate.flagged"].int_value == 1
    assert MARKER.encode() not in b"".join(collected)


def test_a_span_has_no_query_for_it_may_hold_a_key(spotting: Gate, collected: list[bytes]) -> None:
    with served(spotting, ServeSettings(traces=True)) as client:
        path = f"/ext_authz/v1beta/models/m:generateContent?key={MARKER}"
        assert client.post(path, json={"contents": "good"}).status_code in (200, 403)
    (span,) = _spans(collected)
    assert span.attributes
    assert MARKER.encode() not in b"".join(collected)


def _spans(collected: list[bytes]) -> list[Span]:
    return [
        span
        for body in collected
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
