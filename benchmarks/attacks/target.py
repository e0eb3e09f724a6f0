"""A server under attack, and how an attacker reaches it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

# An address of its own, so that the server can tell the attacker from the honest.
SOURCE = "127.0.0.2"
# The longest that an act waits for anything.
PATIENCE_S = 5.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The ports of a server on the loopback, its process, and the model's name."""

    port: int
    grpc_port: int
    pid: int
    model: str

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Connect to the HTTP port until the end of the block.

        Raises:
            OSError: the server does not let it.
        """
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(SOURCE, 0)
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def post(self, path: str, body: bytes, kind: str = "application/json") -> bytes:
        """Post a body and return the first bytes of the answer.

        Raises:
            OSError: the connection failed.
        """
        async with self.connection() as (reader, writer):
            writer.write(head(path, kind, b"Content-Length: %d\r\n" % len(body)) + body)
            return await reader.read(1024)


def head(path: str, kind: str, more: bytes) -> bytes:
    """Return the head of a POST; `more` are whole header lines."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n".encode() + more + b"\r\n"
