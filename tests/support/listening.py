"""A server that listens on loopback in a thread, for clients that want a real socket."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from benchmarks.harness.ports import free_port

_START_S = 30


@contextmanager
def listening(app: ASGIApp, *, certificate: Path | None = None) -> Iterator[str]:
    """Serve an application; yield its address once it answers.

    Args:
        app: the application.
        certificate: PEM file of a certificate and its key, for TLS.
    """
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            log_level="warning",
            access_log=False,
            ssl_certfile=certificate,
        )
    )
    thread = threading.Thread(target=asyncio.run, args=(_serve(server),), daemon=True)
    thread.start()
    until_s = time.monotonic() + _START_S
    while not server.started:
        assert thread.is_alive(), "the server ended before it listened"
        assert time.monotonic() < until_s, "the server did not listen in time"
        time.sleep(0.01)
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(_START_S)
        assert not thread.is_alive(), "the server did not end in time"


async def _serve(server: uvicorn.Server) -> None:
    """Serve, and let no client that keeps its connection hold up the end."""
    serving = asyncio.create_task(server.serve())
    while not server.should_exit:
        await asyncio.sleep(0.01)
    for connection in list(server.server_state.connections):
        if connection.transport is not None:
            connection.transport.abort()
    await serving
