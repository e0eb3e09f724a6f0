"""TLS connections before their handshake: counted among all connections, and with a deadline.

asyncio and uvloop show a server its TLS connections after their handshake only, so that clients
who never finish it would be counted by nobody. Here the server listens without TLS, and each
connection's socket becomes a TLS connection of its own.
"""

import asyncio
import logging
import os
import socket
from functools import partial
from typing import Any

from uvicorn.protocols.utils import get_remote_addr

from hazgate.serving.http.bounded_http import BoundedHttp
from hazgate.serving.http.connections import ConnectionState
from hazgate.serving.http.room import MAX_REFUSED, make_room
from hazgate.serving.tls import Certificate

_LOG = logging.getLogger("hazgate.serving")

# As gRPC's.
HANDSHAKE_TIMEOUT_S = 10.0


class Handshake(asyncio.Protocol):
    """A connection until its TLS handshake is complete; `BoundedHttp` goes on from there.

    A client in its handshake can be told nothing, so one too many is closed.
    """

    state: ConnectionState = "sending"

    def __init__(
        self,
        config: Any,  # noqa: ANN401 - uvicorn's own arguments
        server_state: Any,  # noqa: ANN401
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        certificate: Certificate,
        max_connections: int,
    ) -> None:
        """Expect a connection; all but the last two are uvicorn's own arguments."""
        self.loop = _loop or asyncio.get_running_loop()
        self.client: tuple[str, int] | None = None
        self.since_s = self.loop.time()
        self._state = server_state
        self._certificate = certificate
        self._most = max_connections
        self._secured = partial(
            BoundedHttp,
            config=config,
            server_state=server_state,
            app_state=app_state,
            _loop=_loop,
            max_connections=max_connections,
            handshake=self,
        )
        self._own: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own type
        """Begin the handshake, or close where there is no room."""
        self.client = get_remote_addr(transport)
        own = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        # Nothing was read so far; the copy of the socket keeps the connection.
        transport.abort()
        connections = self._state.connections
        connections.add(self)
        is_full = len(connections) > self._most
        has_room = not is_full or make_room(self, connections, most=self._most, state=self._state)
        # A few more finish their handshake and are refused by HTTP, with the reason.
        if not has_room and len(connections) > self._most + MAX_REFUSED:
            connections.discard(self)
            own.close()
            return
        own.setblocking(False)
        self._own = own
        self._task = self.loop.create_task(self._secure())

    def give_way(self, most: int) -> None:
        """Close for a newcomer."""
        del most
        self.shutdown()

    def shutdown(self) -> None:
        """Close: the server ends."""
        self._state.connections.discard(self)
        if self._task is not None:
            self._task.cancel()
        if self._own is not None:
            # The task has not begun, and so will never take it.
            self._own.close()
            self._own = None

    async def _secure(self) -> None:
        """Finish the handshake in time; HTTP goes on from there."""
        own, self._own = self._own, None
        assert own is not None
        try:
            await self.loop.connect_accepted_socket(
                self._secured,
                own,
                ssl=self._certificate.context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            )
        # Its client hung up, was too slow, or speaks no TLS.
        except OSError as error:
            _LOG.debug("a TLS handshake failed: %s", type(error).__name__)
        finally:
            self._state.connections.discard(self)
