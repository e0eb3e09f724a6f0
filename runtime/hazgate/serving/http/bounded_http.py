"""uvicorn's HTTP protocol on httptools, with a limit on the request line and headers.

This subclasses a private class of uvicorn because httptools has no such limit, and neither has any
setting of uvicorn: headers without end would fill the memory. h11, which uvicorn uses where
httptools is missing, has a limit of 64 KiB. tests/gateway/test_bounded_http.py checks the methods
that this relies on.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024


class BoundedHttp(HttpToolsProtocol):
    """A protocol that refuses a head over the limit and closes the connection."""

    _head_bytes = 0
    _is_in_head = False

    def on_message_begin(self) -> None:
        """Start counting: a request begins."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the head is complete."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse new data, and refuse the request if its head is over the limit."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._is_in_head = False
                self.send_400_response("The request's headers are too large.")
