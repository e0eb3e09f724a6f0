"""A request's line and headers have a limit, over uvicorn's own parser."""

import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from benchmarks.harness.ports import free_port
from hazgate.serving.http import bounded_http
from hazgate.serving.http.bounded_http import MAX_HEAD_BYTES, BoundedHttp


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await PlainTextResponse("answered")(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    config = uvicorn.Config(
        _answer,
        http=BoundedHttp,
        port=port,
        lifespan="off",
        log_level="error",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.001)
    yield port
    server.should_exit = True
    thread.join(20)


def _headers(n_bytes: int) -> bytes:
    line = b"X-Filler: " + b"a" * 1000 + b"\r\n"
    return line * (n_bytes // len(line))


def _request(port: int, *parts: bytes) -> list[bytes]:
    """Send the parts over one connection until the server closes it; return all statuses."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        while data := connection.recv(65_536):
            received += data
    return re.findall(rb"HTTP/1.1 (\d{3})", received)


def _send_on(connection: socket.socket) -> None:
    """Send for 4 s, or until the other side has closed."""
    for _ in range(200):
        connection.sendall(b"a" * 1000)
        time.sleep(0.02)


def test_it_overrides_methods_that_uvicorn_has() -> None:
    for name in (
        *("connection_made", "connection_lost", "data_received"),
        *("on_message_begin", "on_headers_complete", "on_body", "on_message_complete"),
    ):
        assert callable(getattr(HttpToolsProtocol, name))
    assert callable(HttpToolsProtocol.send_400_response)


def test_a_large_head_within_the_limit_is_answered(port: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + _headers(MAX_HEAD_BYTES // 2)
    assert _request(port, head, b"Connection: close\r\n\r\n") == [b"200"]


def test_a_head_over_the_limit_is_refused_before_it_ends(port: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + _headers(MAX_HEAD_BYTES - 1024)
    assert _request(port, head, _headers(2048)) == [b"400"]


def test_trailers_without_end_are_refused(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _request(port, head, b"0\r\n" + _headers(MAX_HEAD_BYTES + 2000)) == [b"400"]


def test_one_trailer_without_end_is_refused(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _request(port, head, b"0\r\nX: " + b"a" * MAX_HEAD_BYTES) == [b"400"]


def test_a_client_that_sends_on_still_reads_why_it_was_refused(port: int) -> None:
    # Bytes unread at a close reset the connection, and the answer with it.
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + _headers(2 * MAX_HEAD_BYTES)
    assert _request(port, head, *[_headers(MAX_HEAD_BYTES)] * 20) == [b"400"]


def test_a_refused_client_that_stays_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "LINGER_S", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"no request\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _send_on(connection)


def test_a_body_in_chunks_of_one_byte_and_trailers_within_the_limit_are_answered(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    end = b"0\r\nX-Trailer: a\r\n\r\n"
    assert _request(port, head, b"1\r\na\r\n" * 100_000, end) == [b"200"]


def test_a_head_that_does_not_come_closes_the_connection(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_TIMEOUT_S", 0.2)
    assert _request(port) == []
    assert _request(port, b"GET / HTTP/1.1\r\nX-Slow: ") == []
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert _request(port, whole, b"GET / HTTP/1.1\r\nX-Slow: ") == [b"200"]


def test_the_limit_is_per_request_and_does_not_count_bodies(port: int) -> None:
    body = b"b" * (2 * MAX_HEAD_BYTES)
    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
        + _headers(MAX_HEAD_BYTES // 2)
        + b"\r\n"
        + body
    )
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert _request(port, request, request, request, last) == [b"200"] * 4
