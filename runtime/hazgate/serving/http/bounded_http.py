"""uvicorn's HTTP by httptools, with a bound on what comes before a body: a line and headers.

httptools collects them without one; h11, which uvicorn speaks without it, has one of 64 KiB.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head that does not end within the bound, and closes its connection."""

    _head_bytes = 0
    _is_in_head = False

    def on_message_begin(self) -> None:
        """Called where a request begins."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called where its body begins, or it ends."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Takes what came; of a head that goes on, as much as the bound allows."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._is_in_head = False
                self.send_400_response("The request's headers are too large.")
