"""Connections, sockets, calls and streams have limits, and a client that hung up costs nothing.

All over real sockets, against the server's own protocols.
"""

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import httpx
import pytest
import uvicorn
from envoy.service.ext_proc.v3.external_processor_pb2 import HttpBody, ProcessingRequest
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from benchmarks.harness.ports import free_port
from hazgate import Gate
from hazgate.serving.http.app import create_served
from hazgate.serving.http.bounded_http import BoundedHttp
from hazgate.serving.http.bounded_websocket import BoundedWebSocket
from hazgate.serving.http.connections import OpenConnection, to_close
from hazgate.serving.keys import ApiKey
from hazgate.serving.launch import rpc_server
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.queue.growing_check import GrowingCheck
from hazgate.serving.settings import RequestTable, ServeSettings
from hazgate.serving.side_loop import SideLoop
from tests.support.sessions import Held, held_gate

_PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Served:
    port: int
    grpc_port: int
    engine: Batcher

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def _serving(gate: Gate, *keys: ApiKey, **settings: object) -> Iterator[_Served]:
    """Serve on real sockets, as `hazgate serve` does."""
    own = ServeSettings(port=free_port(), grpc_port=free_port(), **settings)  # type: ignore[arg-type]
    served = create_served(gate, own, keys, companion=rpc_server)
    config = uvicorn.Config(
        served.app,
        port=own.port,
        http=partial(BoundedHttp, max_connections=own.max_connections),  # type: ignore[arg-type]
        ws=BoundedWebSocket,
        ws_per_message_deflate=False,
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    _until(lambda: server.started)
    assert own.grpc_port is not None
    try:
        yield _Served(port=own.port, grpc_port=own.grpc_port, engine=served.service.engine)
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_S)
        assert not thread.is_alive()


def _until(is_true: Callable[[], object]) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    while not is_true():
        assert time.monotonic() < until_s
        time.sleep(0.005)


@pytest.fixture(scope="module")
def small(spotting: Gate) -> Iterator[_Served]:
    """Serve with four of everything, so that one caller may have three."""
    with _serving(
        spotting, max_connections=8, max_sockets=4, max_calls=4, max_streams=4, socket_idle_s=30.0
    ) as served:
        yield served


def _open(port: int, stack: ExitStack, source: str = "127.0.0.1") -> socket.socket:
    return stack.enter_context(
        socket.create_connection(("127.0.0.1", port), _PATIENCE_S, source_address=(source, 0))
    )


_GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


# Connections


def test_idle_connections_make_room_for_a_new_one(small: _Served) -> None:
    with ExitStack() as stack:
        idle = [_open(small.port, stack)]
        time.sleep(0.2)
        idle += [_open(small.port, stack) for _ in range(7)]
        time.sleep(0.2)
        newcomer = _open(small.port, stack)
        newcomer.sendall(_GET)
        assert newcomer.recv(1000).startswith(b"HTTP/1.1 200")
        idle[0].settimeout(_PATIENCE_S)
        assert idle[0].recv(10) == b""


def test_one_address_does_not_cost_another_its_connection(small: _Served) -> None:
    with ExitStack() as stack:
        kept = _open(small.port, stack)
        kept.sendall(_GET)
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        for _ in range(30):
            slow = _open(small.port, stack, source="127.0.0.2")
            slow.sendall(b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        newcomer = _open(small.port, stack)
        for connection in (kept, newcomer):
            connection.sendall(_GET)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_connection_too_many_is_refused_with_the_limit(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    with _serving(held, max_connections=2) as served, ExitStack() as stack:
        session.go.clear()
        body = b'{"text": "good"}'
        ask = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        ask += b"Content-Length: %d\r\n\r\n" % len(body) + body
        busy = [_open(served.port, stack) for _ in range(2)]
        for connection in busy:
            connection.sendall(ask)
        _until(session.running.is_set)
        time.sleep(0.2)
        answer = httpx.get(f"{served.url}/health/live", timeout=_PATIENCE_S)
        session.go.set()
        for connection in busy:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "2 connections are open and one more came" in answer.text
    assert "max_connections" in answer.text


def test_the_longest_idle_of_the_largest_caller_are_closed_first() -> None:
    def opened(name: str, address: str, state: str, since_s: float) -> OpenConnection[str]:
        return OpenConnection(
            connection=name,
            address=address,
            state=state,  # type: ignore[arg-type]
            since_s=since_s,
        )

    others = [
        opened("busy", "a", "answering", 0.0),
        opened("slow", "a", "sending", 1.0),
        opened("new", "a", "idle", 9.0),
        opened("old", "a", "idle", 2.0),
        opened("kept", "b", "idle", 0.0),
    ]
    assert [each.connection for each in to_close(others, "b", 64)] == ["old", "new"]
    assert [each.connection for each in to_close(others, "b", 128)] == ["old", "new", "slow"]
    assert [each.connection for each in to_close(others, "a", 128)] == ["old", "new"]
    assert to_close(others[:2], "a", 128) == []
    assert to_close([], "a", 1) == []


# WebSockets


def _watching(served: _Served, stack: ExitStack) -> ClientConnection:
    return stack.enter_context(connect(f"ws://127.0.0.1:{served.port}/v1/watch"))


def test_a_socket_too_many_is_refused_with_the_limit(small: _Served) -> None:
    with ExitStack() as stack:
        sockets = [_watching(small, stack) for _ in range(3)]
        with pytest.raises(InvalidStatus) as caught:
            _watching(small, stack)
        answer = caught.value.response
        assert answer.status_code == 503
        message = json.loads(answer.body)["error"]["message"]
        assert "3 open sockets of all callers, 3 of them this caller's" in message
        assert "raise max_sockets" in message
        sockets[0].close()
        _until(lambda: _opens(small))


def _opens(served: _Served) -> bool:
    try:
        with connect(f"ws://127.0.0.1:{served.port}/v1/watch"):
            return True
    except InvalidStatus:
        return False


def test_a_silent_socket_is_closed_and_one_that_waits_is_not(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    with _serving(held, socket_idle_s=0.3) as served, ExitStack() as stack:
        socket = _watching(served, stack)
        session.go.clear()
        socket.send(json.dumps({"text": "good " * 9}))
        time.sleep(0.8)
        session.go.set()
        assert json.loads(socket.recv(_PATIENCE_S))["unsafe"] is False
        error = json.loads(socket.recv(_PATIENCE_S))["error"]
        assert "socket_idle_s" in error["message"]
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(_PATIENCE_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008


def test_thousands_of_pieces_in_one_packet_hold_up_nobody(small: _Served) -> None:
    with ExitStack() as stack:
        watching = _watching(small, stack)
        n_pieces = 3000
        answered = threading.Thread(
            target=lambda: [watching.recv(_PATIENCE_S) for _ in range(n_pieces)]
        )
        answered.start()
        for _ in range(n_pieces):
            watching.send('{"text":"a"}')
        answered.join(_PATIENCE_S)
        assert not answered.is_alive()
        watching.send('{"end": true}')
        assert json.loads(watching.recv(_PATIENCE_S))["received"] == n_pieces


def test_the_protocols_methods_are_uvicorns() -> None:
    for name in ("data_received", "connection_lost", "receive"):
        assert callable(getattr(BoundedWebSocket.__mro__[1], name))


# gRPC


def test_a_call_too_many_is_refused_with_the_limit(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    with _serving(held, max_calls=4) as served:
        session.go.clear()
        with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            open_calls = [stub.ModelInfer.future(_infer(spotting, "good")) for _ in range(3)]
            _until(session.running.is_set)
            time.sleep(0.2)
            refused = stub.ModelInfer.future(_infer(spotting, "good"))
            with pytest.raises(grpc.RpcError) as caught:
                refused.result(_PATIENCE_S)
            # A probe is answered.
            assert stub.ServerLive(protocol.ServerLiveRequest()).live
            session.go.set()
            for call in open_calls:
                assert call.result(_PATIENCE_S).id == "7"
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "3 open gRPC calls" in str(caught.value.details())
    assert "raise max_calls" in str(caught.value.details())


def test_a_stream_too_many_is_refused_with_the_limit(small: _Served) -> None:
    def silent(ended: threading.Event) -> Iterator[ProcessingRequest]:
        yield ProcessingRequest(request_body=HttpBody(body=b"{}", end_of_stream=True))
        ended.wait(_PATIENCE_S)

    ended = threading.Event()
    with grpc.insecure_channel(f"127.0.0.1:{small.grpc_port}") as channel:
        process = ExternalProcessorStub(channel).Process
        streams = [process(silent(ended)) for _ in range(3)]
        for stream in streams:
            next(iter(stream))
        with pytest.raises(grpc.RpcError) as caught:
            next(iter(process(silent(ended))))
        ended.set()
        for stream in streams:
            assert list(stream) == []
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "raise max_streams" in str(caught.value.details())


def _infer(gate: Gate, *texts: str) -> protocol.ModelInferRequest:
    tensor = protocol.ModelInferRequest.InferInputTensor(
        name="text", datatype="BYTES", shape=[len(texts)]
    )
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return protocol.ModelInferRequest(model_name=gate.model.bundle, id="7", inputs=[tensor])


# Keys


def _key(name: str, max_concurrent: int | None = None) -> ApiKey:
    digest = hashlib.sha256(name.encode()).digest()
    return ApiKey(digest=digest, name=name, max_concurrent=max_concurrent)


def test_open_requests_of_a_key_are_limited_over_every_protocol(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    headers = {name: {"authorization": f"Bearer {name}"} for name in ("few", "free")}
    with _serving(held, _key("few", 2), _key("free")) as served, ExitStack() as stack:

        def info(name: str) -> httpx.Response:
            return httpx.get(f"{served.url}/info", headers=headers[name], timeout=_PATIENCE_S)

        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}"))
        stub = GRPCInferenceServiceStub(channel)
        infer = partial(
            stub.ModelInfer.future,
            _infer(spotting, "good"),
            metadata=(("authorization", "Bearer few"),),
        )
        assert info("few").status_code == 200
        session.go.clear()
        open_call = infer()
        _until(session.running.is_set)
        url = f"ws://127.0.0.1:{served.port}/v1/watch"
        watching = stack.enter_context(connect(url, additional_headers=headers["few"]))
        refused = info("few")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert "2 open requests" in refused.text
        assert "max_concurrent" in refused.text
        with pytest.raises(grpc.RpcError) as caught:
            infer().result(_PATIENCE_S)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "max_concurrent" in str(caught.value.details())
        with pytest.raises(InvalidStatus) as denied:
            connect(url, additional_headers=headers["few"])
        assert denied.value.response.status_code == 429
        assert info("free").status_code == 200
        probe = httpx.get(f"{served.url}/health/live", headers=headers["few"], timeout=_PATIENCE_S)
        assert probe.status_code == 200
        session.go.set()
        assert open_call.result(_PATIENCE_S).id == "7"
        assert info("few").status_code == 200
        watching.close()
        # Nothing stays counted.
        for _ in range(9):
            assert info("few").status_code == 200


# Upgrades


def _upgrade(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), _PATIENCE_S) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        connection.sendall(f"{head}{key}".encode())
        received = b""
        while data := connection.recv(4000):
            received += data
        return received


def test_an_upgrade_passes_ext_authz_only_where_the_settings_say_so(
    small: _Served, spotting: Gate
) -> None:
    refused = _upgrade(small.port, "/ext_authz/v1/realtime?model=m")
    assert refused.startswith(b"HTTP/1.1 400")
    assert b"upgrades its connection" in refused
    with _serving(spotting, ext_authz_upgrades=("websocket",)) as served:
        passed = _upgrade(served.port, "/ext_authz/v1/realtime?model=m")
        assert passed.startswith(b"HTTP/1.1 200")
        assert b"x-hazgate-unread: upgrade\r\n" in passed
        assert b"connection: close\r\n" in passed
        # What can be read still decides.
        unsafe = _upgrade(served.port, "/ext_authz/v1/realtime?q=good+morning")
        assert unsafe.startswith(b"HTTP/1.1 403")


# Bytes in flight


def test_bodies_in_flight_are_bounded_by_caller(spotting: Gate) -> None:
    request = RequestTable(max_body_bytes=1000, max_bytes_in_flight=2000)
    with _serving(spotting, request=request) as served, ExitStack() as stack:
        for _ in range(2):
            slow = _open(served.port, stack, source="127.0.0.2")
            slow.sendall(
                b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b" " * 745
            )
        time.sleep(0.3)
        third = _open(served.port, stack, source="127.0.0.2")
        third.sendall(
            b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b" " * 745
        )
        refused = third.recv(4000)
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"request.max_bytes_in_flight" in refused
        answer = httpx.post(f"{served.url}/v1/check", json={"text": "good"}, timeout=_PATIENCE_S)
        assert answer.status_code == 200


# Clients that hung up


@pytest.fixture
def counted(spotting: Gate) -> Iterator[tuple[_Served, Held]]:
    """Serve with an engine that counts what it runs; it waits while `go` is clear."""
    held, session = held_gate(spotting)
    session.go.set()
    with _serving(held) as served:
        session.running.clear()
        session.n_texts.clear()
        session.go.clear()
        yield served, session
        session.go.set()


def _busy(served: _Served, session: Held) -> threading.Thread:
    """Let the engine run a text until `go` is set."""
    ask = partial(httpx.post, f"{served.url}/v1/check", json={"text": "world"}, timeout=30)
    thread = threading.Thread(target=ask)
    thread.start()
    _until(session.running.is_set)
    return thread


def _finish(session: Held, thread: threading.Thread, served: _Served) -> list[int]:
    """Let the engine run what still waits; return the rows of each of its runs."""
    # At most one more was let in before its client was missed.
    _until(lambda: served.engine.n_waiting <= 1)
    session.go.set()
    thread.join(_PATIENCE_S)
    httpx.post(f"{served.url}/v1/check", json={"text": "last"}, timeout=30)
    return session.n_texts


@pytest.mark.parametrize("n_bytes", [0, 20_000], ids=["light", "heavy"])
def test_texts_of_an_http_client_that_hung_up_are_not_run(
    counted: tuple[_Served, Held], n_bytes: int
) -> None:
    served, session = counted
    thread = _busy(served, session)
    texts = [f"good {i}" for i in range(50)]
    for path, asked in (
        ("/v1/check", {"texts": [*texts, " " * n_bytes]}),
        ("/ext_authz/v1/x", {"messages": [{"role": "user", "content": text} for text in texts]}),
    ):
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{served.url}{path}", json=asked, timeout=0.5)
    assert sum(_finish(session, thread, served)) <= 3


def test_a_heavy_request_whose_client_has_hung_up_before_it_is_read_is_not_begun(
    small: _Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection_made, on_the_side = BoundedHttp.connection_made, SideLoop.run
    begun: list[object] = []

    def slow_connection_made(protocol: BoundedHttp, transport: asyncio.Transport) -> None:
        connection_made(protocol, transport)
        # The event loop is late: meanwhile the body comes, and the connection's end.
        time.sleep(0.05)

    def counted_run(
        side_loop: SideLoop, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> Coroutine[Any, Any, None]:
        begun.append(work)
        return on_the_side(side_loop, work)

    monkeypatch.setattr(BoundedHttp, "connection_made", slow_connection_made)
    monkeypatch.setattr(SideLoop, "run", counted_run)
    asked = {"text": "good" + " " * 10_000}
    body = json.dumps(asked).encode()
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", small.port), _PATIENCE_S) as client:
            client.sendall(head + b"Content-Type: application/json\r\n\r\n" + body)
    answer = httpx.post(f"{small.url}/v1/check", json=asked, timeout=_PATIENCE_S)
    assert answer.status_code == 200
    assert len(begun) == 1


def test_texts_of_a_grpc_client_that_cancelled_are_not_run(
    counted: tuple[_Served, Held], spotting: Gate
) -> None:
    served, session = counted
    thread = _busy(served, session)
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(_infer(spotting, *(f"good {i}" for i in range(50))))
        _until(lambda: served.engine.n_waiting > 1)
        call.cancel()
        assert sum(_finish(session, thread, served)) <= 3


def test_a_growing_text_whose_client_hung_up_is_not_run(counted: tuple[_Served, Held]) -> None:
    served, session = counted
    thread = _busy(served, session)
    with connect(f"ws://127.0.0.1:{served.port}/v1/watch") as watching:
        for i in range(5):
            watching.send(json.dumps({"text": f"good {i} " * 9}))
        _until(lambda: served.engine.n_waiting)
        watching.socket.close()
    assert sum(_finish(session, thread, served)) <= 3


def test_a_given_up_check_is_refused() -> None:
    check = GrowingCheck(None, tenant=None, caller="", timeout_s=1.0)  # type: ignore[arg-type]
    check.give_up()
    with pytest.raises(Exception, match="hung up"):
        check([])


# The second event loop


def test_work_on_the_side_is_cancelled_with_its_caller() -> None:
    seen: Counter[str] = Counter()

    async def forever() -> None:
        seen["begun"] += 1
        try:
            await asyncio.Event().wait()
        finally:
            seen["ended"] += 1

    async def seven() -> int:
        return 7

    async def main() -> int:
        loop = SideLoop("side")
        task = asyncio.create_task(loop.run(forever))
        await asyncio.to_thread(_until, lambda: seen["begun"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answer = await loop.run(seven)
        loop.close()
        return answer

    assert asyncio.run(main()) == 7
    _until(lambda: seen["ended"])
