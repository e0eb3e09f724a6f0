"""TLS connections count before their handshake, and must finish it in time."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trustme
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from websockets.sync.client import connect

from benchmarks.harness.ports import free_port
from hazgate.serving.http import handshake
from hazgate.serving.http.bounded_websocket import BoundedWebSocket
from hazgate.serving.http.handshake import Handshake
from hazgate.serving.settings import TlsTable
from hazgate.serving.tls import Certificate

_PATIENCE_S = 30.0
_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["scheme"]})
        await send({"type": "websocket.close", "code": 1000})
        return
    n_bytes = len(await Request(scope, receive).body())
    await PlainTextResponse(f"{scope['scheme']} {n_bytes}")(scope, receive, send)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def _serving(authority: trustme.CA, folder: Path, most: int, loop: str) -> Iterator[uvicorn.Server]:
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    certificate = Certificate()
    certificate.make(
        TlsTable(certificate_file=str(folder / "chain.pem"), key_file=str(folder / "key.pem"))
    )
    config = uvicorn.Config(
        _answer,
        http=partial(Handshake, certificate=certificate, max_connections=most),  # type: ignore[arg-type]
        ws=BoundedWebSocket,
        loop=loop,
        port=free_port(),
        lifespan="off",
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    _until(lambda: server.started)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(params=["asyncio", "uvloop"])
def server(
    request: pytest.FixtureRequest, authority: trustme.CA, tmp_path: Path
) -> Iterator[uvicorn.Server]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="not on this platform")
    with _serving(authority, tmp_path, most=4, loop=request.param) as served:
        yield served


def _until(is_true: object) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    while not is_true():  # type: ignore[operator]
        assert time.monotonic() < until_s
        time.sleep(0.005)


def _dial(server: uvicorn.Server, stack: ExitStack, source: str = "127.0.0.1") -> socket.socket:
    return stack.enter_context(
        socket.create_connection(
            ("127.0.0.1", server.config.port), _PATIENCE_S, source_address=(source, 0)
        )
    )


def _ask(server: uvicorn.Server, trust: ssl.SSLContext, request: bytes = _GET) -> bytes:
    with ExitStack() as stack:
        plain = _dial(server, stack)
        secured = stack.enter_context(trust.wrap_socket(plain, server_hostname="127.0.0.1"))
        secured.sendall(request)
        return secured.recv(4000) + secured.recv(4000)


def _n_open(server: uvicorn.Server) -> int:
    return len(server.server_state.connections)


def test_requests_and_websockets_are_answered_over_tls(
    server: uvicorn.Server, trust: ssl.SSLContext
) -> None:
    body = b"a" * 300_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = _ask(server, trust, head + body)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"https 300000")
    with connect(f"wss://127.0.0.1:{server.config.port}/", ssl=trust) as watching:
        assert watching.recv(_PATIENCE_S) == "wss"
    _until(lambda: not _n_open(server))


def test_handshakes_that_never_end_count_and_give_way(
    server: uvicorn.Server, trust: ssl.SSLContext
) -> None:
    with ExitStack() as stack:
        silent = [_dial(server, stack, source="127.0.0.2") for _ in range(4)]
        _until(lambda: _n_open(server) == 4)
        assert _ask(server, trust).startswith(b"HTTP/1.1 200")
        silent[0].settimeout(_PATIENCE_S)
        assert silent[0].recv(1) == b""
    _until(lambda: not _n_open(server))


def test_a_flood_of_handshakes_is_cut_off(
    server: uvicorn.Server, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "MAX_REFUSED", 2)
    with ExitStack() as stack:
        # A caller that has most of them closes none of its own that are in their handshake.
        flood = [_dial(server, stack) for _ in range(40)]
        for each in flood[6:]:
            each.settimeout(_PATIENCE_S)
            assert each.recv(1) == b""
        assert _n_open(server) <= 6


def test_a_handshake_has_a_deadline(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_TIMEOUT_S", 0.3)
    with ExitStack() as stack:
        silent = _dial(server, stack)
        assert silent.recv(1) == b""
    _until(lambda: not _n_open(server))


def test_a_client_without_tls_is_closed(server: uvicorn.Server) -> None:
    with ExitStack() as stack:
        plain = _dial(server, stack)
        plain.sendall(_GET)
        assert not plain.recv(4000).startswith(b"HTTP")
    _until(lambda: not _n_open(server))


def test_a_server_ends_while_handshakes_are_open(authority: trustme.CA, tmp_path: Path) -> None:
    with ExitStack() as stack:
        with _serving(authority, tmp_path, most=4, loop="asyncio") as served:
            silent = _dial(served, stack)
            _until(lambda: _n_open(served) == 1)
        assert silent.recv(1) == b""
