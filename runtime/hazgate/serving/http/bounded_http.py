"""uvicorn's HTTP protocol on httptools, with limits on connections, heads and trailers.

This subclasses a private class of uvicorn because httptools has no such limits, and neither has any
setting of uvicorn: headers or trailers without end would fill the memory, and a head that never
ends would keep its connection. uvicorn's own limit on connections refuses the requests of all
connections once it is met, also of those that were there before. h11, which uvicorn uses where
httptools is missing, limits a head to 64 KiB. tests/gateway/test_bounded_http.py checks the methods
that this relies on.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hazgate.serving.http.connections import ConnectionState
from hazgate.serving.http.room import MAX_REFUSED, make_room, refusal

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 30.0
# A client that still sends has this long to read why it was refused (RFC 9112, section 9.6).
LINGER_S = 2.0
# A client over the limit of connections has this long to send its request and read the refusal.
_REFUSE_S = 1.0
# Parsed in one turn of the event loop: each chunk of a body costs a call, and may be one byte.
_BYTES_PER_TURN = 8_192
# Below it gateways ask about requests of theirs, with the headers of those.
_ASKED_ABOUT = b"/ext_authz"
# A chunk of one byte takes six bytes.
_FRAMING_PER_BODY_BYTE = 8


class BoundedHttp(HttpToolsProtocol):
    """A protocol that refuses a head or trailers over the limit, and a head that does not come.

    Where `max_connections` are open, a newcomer takes the place of idle ones, or is refused.
    """

    # Bytes of the head, or those behind it that are no body: the framing of chunks, and trailers.
    _head_bytes = 0
    _outside_bytes = 0
    _body_bytes = 0
    _is_in_head = False
    _is_in_body = False
    _head_deadline: asyncio.TimerHandle | None = None
    _is_refused = False
    # The time since which the connection is idle, or sends.
    since_s = 0.0
    _is_one_too_many = False
    _is_upgraded = False

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - uvicorn's own
        max_connections: int | None = None,
        handshake: object = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Start as uvicorn does.

        Args:
            args: uvicorn's own.
            max_connections: open ones at most; None for connections without limit.
            handshake: was counted in its place until now.
            kwargs: uvicorn's own.
        """
        super().__init__(*args, **kwargs)
        self._max_connections = max_connections
        self._handshake = handshake
        self._unparsed = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own type
        """Expect a first head within the time limit."""
        self.connections.discard(cast("Any", self._handshake))
        super().connection_made(transport)
        self.since_s = self.loop.time()
        most = self._max_connections
        if (
            most is not None
            and len(self.connections) > most
            and not make_room(self, self.connections, most=most, state=self.server_state)
        ):
            self._refuse(most)
        if not self._is_one_too_many:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_expecting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start counting: a request begins."""
        self._is_in_head, self._is_in_body, self._head_bytes = True, False, 0
        self._outside_bytes = self._body_bytes = 0
        self.since_s = self.loop.time()
        if self._head_deadline is None:
            self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting the head, which is complete."""
        self._is_in_head, self._is_in_body = False, True
        self._stop_expecting()
        super().on_headers_complete()
        if self.parser.should_upgrade() and not self._should_upgrade():
            # The parser reads nothing after it.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop counting: the request is complete."""
        self._is_in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Be idle again, or answer the next request."""
        self.since_s = self.loop.time()
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Parse new data, and refuse the request if something of it is over the limit."""
        if self._is_refused or self.transport.is_closing():
            return
        if self._is_one_too_many:
            self._refuse_connection()
            return
        is_parsing = bool(self._unparsed)
        self._unparsed += data
        if not is_parsing:
            self._parse()

    def _parse(self) -> None:
        """Parse a part of what has come, the rest in later turns of the event loop."""
        part = bytes(self._unparsed[:_BYTES_PER_TURN])
        del self._unparsed[:_BYTES_PER_TURN]
        self._parse_part(part)
        # After an upgrade, the connection is another protocol's.
        is_over = self._is_refused or self.transport.is_closing() or self._is_upgraded
        if is_over:
            self._unparsed.clear()
        elif self._unparsed:
            self.transport.pause_reading()
            self.loop.call_soon(self._parse)
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _should_upgrade_to_ws(self) -> bool:
        """Upgrade no request that a gateway asks about: it is the gateway's own connection."""
        return super()._should_upgrade_to_ws() and not self.url.startswith(_ASKED_ABOUT)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: such a request is answered, and the next one needs a new connection."""

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to a protocol for WebSockets."""
        self._is_upgraded = True
        super().handle_websocket_upgrade()

    def _parse_part(self, data: bytes) -> None:
        before = self._body_bytes
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The request's headers are too large.")
        elif self._is_in_body:
            self._outside_bytes += len(data) - max(0, self._body_bytes - before)
            if self._outside_bytes > MAX_HEAD_BYTES + _FRAMING_PER_BODY_BYTE * self._body_bytes:
                self.send_400_response("The request's trailers are too large.")

    def send_400_response(self, msg: str) -> None:
        """Answer 400, and close once the client closes or LINGER_S have passed.

        A close while bytes of the client stand unread resets the connection, and the client may
        lose the answer.
        """
        self._is_in_head = self._is_in_body = False
        self._is_refused = True
        self._stop_expecting()
        self._write_refusal(b"400 Bad Request", msg)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()

    @property
    def state(self) -> ConnectionState:
        """The state of the connection: for whom, or for what, it waits."""
        # uvicorn's type hides that there is none before the first request.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._is_in_head or self._is_in_body:
            return "sending"
        return "idle" if cycle is None or cycle.response_complete else "answering"

    def give_way(self, most: int) -> None:
        """Close for a newcomer; a client that still sends is told why."""
        if self.state == "sending":
            self._write_refusal(*refusal(most))
        self.transport.close()

    def _refuse(self, most: int) -> None:
        """Be the one that is refused."""
        self._is_one_too_many = True
        if len(self.connections) > most + MAX_REFUSED:
            self.transport.abort()
        else:
            # Its request is read first: a close before that may lose the answer.
            self.loop.call_later(_REFUSE_S, self._refuse_connection)

    def _refuse_connection(self) -> None:
        if not self.transport.is_closing() and self._max_connections is not None:
            self._write_refusal(*refusal(self._max_connections))
            self.transport.close()

    def _write_refusal(self, status: bytes, message: str) -> None:
        body = message.encode("ascii")
        headers = b"".join(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)
        self.transport.write(
            b"HTTP/1.1 %b\r\n%b"
            b"content-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, headers, len(body), body)
        )

    def _expect_head(self) -> None:
        self._head_deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _stop_expecting(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _give_up(self) -> None:
        self._head_deadline = None
        if not self.transport.is_closing():
            self.transport.close()
