"""uvicorn's HTTP protocol on httptools, with limits on what comes before and behind a body.

This subclasses a private class of uvicorn because httptools has no such limits, and neither has any
setting of uvicorn: headers or trailers without end would fill the memory, and a head that never
ends would keep its connection. h11, which uvicorn uses where httptools is missing, limits a head to
64 KiB. tests/gateway/test_bounded_http.py checks the methods that this relies on.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 30.0
# A client that still sends has this long to read why it was refused (RFC 9112, section 9.6).
LINGER_S = 2.0
# A chunk of one byte takes six bytes.
_FRAMING_PER_BODY_BYTE = 8


class BoundedHttp(HttpToolsProtocol):
    """A protocol that refuses a head or trailers over the limit, and a head that does not come."""

    # Bytes of the head, or those behind it that are no body: the framing of chunks, and trailers.
    _head_bytes = 0
    _outside_bytes = 0
    _body_bytes = 0
    _is_in_head = False
    _is_in_body = False
    _head_deadline: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own type
        """Expect a first head within the time limit."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_expecting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start counting: a request begins."""
        self._is_in_head, self._is_in_body, self._head_bytes = True, False, 0
        self._outside_bytes = self._body_bytes = 0
        if self._head_deadline is None:
            self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting the head, which is complete."""
        self._is_in_head, self._is_in_body = False, True
        self._stop_expecting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop counting: the request is complete."""
        self._is_in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse new data, and refuse the request if something of it is over the limit."""
        if self._is_refused or self.transport.is_closing():
            return
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
        body = msg.encode("ascii")
        headers = b"".join(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n%b"
            b"content-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (headers, len(body), body)
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()

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
