"""uvicorn's WebSocket protocol, which takes no more of what came than was answered lately.

This subclasses a private class of uvicorn: it parses everything that one read from the socket gives
before anything else runs, and a quarter of a megabyte may be ten thousand messages.
tests/gateway/test_caps.py checks the methods that this relies on.
"""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Parsed in one turn of the event loop.
_BYTES_PER_TURN = 2_048
# Messages that wait for the application; while there are more, nothing is parsed.
_MAX_WAITING = 16
_WAIT_S = 0.005


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A protocol that parses a little at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Start as uvicorn does."""
        super().__init__(*args, **kwargs)
        self._unparsed = bytearray()

    def data_received(self, data: bytes) -> None:
        """Parse new data, the rest of it in later turns."""
        is_parsing = bool(self._unparsed)
        self._unparsed += data
        if not is_parsing:
            self._parse()

    def _parse(self) -> None:
        if self.transport.is_closing():
            self._unparsed.clear()
            return
        if self.queue.qsize() <= _MAX_WAITING:
            part = bytes(self._unparsed[:_BYTES_PER_TURN])
            del self._unparsed[:_BYTES_PER_TURN]
            super().data_received(part)
            pause_s = 0.0
        else:
            pause_s = _WAIT_S
        if self._unparsed:
            self.transport.pause_reading()
            self.loop.call_later(pause_s, self._parse)
        elif not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()
