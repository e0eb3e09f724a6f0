"""A light HTTP client, because it shares the processors with the server that it measures.

It writes a request in one piece, reads a status and a body of stated length, and keeps connections
open. It understands nothing else of HTTP/1.1.
"""

import asyncio
from dataclasses import dataclass, field

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """A client of one port of the loopback, for one event loop.

    It hangs up on a request that has no answer after `patience_s`.
    """

    port: int
    patience_s: float
    _idle: list[_Connection] = field(default_factory=list)

    async def post(self, path: str, body: bytes) -> int:
        """Post JSON, drop the answer's body, and return the status.

        Raises:
            TimeoutError: no answer came in time.
            OSError: the connection failed.
            ValueError: the answer is malformed or states no length.
        """
        connection = await self._connect()
        reader, writer = connection
        gave_up = False

        def hang_up() -> None:
            nonlocal gave_up
            gave_up = True
            writer.transport.abort()

        timer = asyncio.get_running_loop().call_later(self.patience_s, hang_up)
        try:
            writer.write(request_bytes(path, body))
            head = await reader.readuntil(b"\r\n\r\n")
            status, length = parse_head(head)
            await reader.readexactly(length)
        except (OSError, EOFError) as error:
            writer.close()
            if gave_up:
                raise TimeoutError(f"no answer within {self.patience_s:g} s") from error
            raise ConnectionError(f"the connection ended: {error}") from error
        except BaseException:
            writer.close()
            raise
        finally:
            timer.cancel()
        self._idle.append(connection)
        return status

    async def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                continue

    async def _connect(self) -> _Connection:
        # The server is least likely to have closed the connection that was used last.
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)


def request_bytes(path: str, body: bytes) -> bytes:
    """Return a POST of JSON as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def parse_head(head: bytes) -> tuple[int, int]:
    """Return status and body length of an answer's head.

    Raises:
        ValueError: the head is malformed or states no length.
    """
    first, *lines = head.split(b"\r\n")
    if not first.startswith(b"HTTP/1."):
        raise ValueError(f"no answer: {first[:40]!r}")
    fields = [line.partition(b":") for line in lines]
    lengths = [value for name, _, value in fields if name.strip().lower() == b"content-length"]
    if len(lengths) != 1:
        raise ValueError(f"an answer with {len(lengths)} lengths")
    return int(first.split(b" ", 2)[1]), int(lengths[0])
