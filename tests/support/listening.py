"""A server that listens on loopback in a thread, for clients that want a real socket."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from tests.support.ports import free_port

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
            loop="asyncio",
            # A client may keep its connection.
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
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
