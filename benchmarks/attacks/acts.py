"""The acts that attacks are made of: one connection, request or signal each."""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from functools import cache

from benchmarks.attacks.target import PATIENCE_S, Connection, Target, head

_MB = 1_000_000
_DRIP_S = 0.1
_HOLD_S = 3.0
_TEXT_CHARACTERS = 16_000


async def slow_head(target: Target) -> None:
    """Send a head byte by byte."""
    async with target.connection() as connection:
        await _drip(connection, b"GET /v1/check HTTP/1.1\r\nX-Slow: ")


async def slow_body(target: Target) -> None:
    """Announce a body and send it byte by byte."""
    async with target.connection() as connection:
        length = b"Content-Length: %d\r\n" % _MB
        await _drip(connection, head("/v1/check", "application/json", length))


async def endless_trailers(target: Target) -> None:
    """Send trailers behind a body until the server closes."""
    async with target.connection() as (_, writer):
        writer.write(head("/v1/check", "application/json", b"Transfer-Encoding: chunked\r\n"))
        writer.write(b'10\r\n{"text": "good"}\r\n0\r\n')
        for _ in range(1000):
            writer.write(b"X-Trailer: " + b"a" * 8000 + b"\r\n")
            await writer.drain()


async def deep_nesting(target: Target) -> None:
    """Send arrays in arrays."""
    await target.post("/ext_authz/v1/completions", _nested())


async def giant_shape(target: Target) -> None:
    """Send a tensor of hundreds of thousands of axes."""
    await target.post(f"/v2/models/{target.model}/infer", _tensor())


async def long_numbers(target: Target) -> None:
    """Send numbers of 5,000 digits."""
    await target.post("/ext_authz/v1/completions", _numbers())


async def long_text(target: Target) -> None:
    """Send a long text that no other act has sent."""
    number = random.random()  # noqa: S311 - no secret
    text = f"{number} kill the process " * (_TEXT_CHARACTERS // 36)
    await target.post("/v1/check", json.dumps({"text": text}).encode())


async def many_texts(target: Target) -> None:
    """Send thousands of texts of one word."""
    number = random.random()  # noqa: S311 - no secret
    texts = [f"a{number}{i}" for i in range(5000)]
    await target.post("/v1/check", json.dumps({"texts": texts}).encode())


async def idle_connection(target: Target) -> None:
    """Connect and say nothing."""
    async with target.connection() as (reader, _):
        await asyncio.wait_for(reader.read(1), PATIENCE_S)


async def hang_up(target: Target) -> None:
    """Ask about a long text and hang up at once."""
    number = random.random()  # noqa: S311 - no secret
    body = json.dumps({"text": f"{number} kill the process " * 400}).encode()
    async with target.connection() as (_, writer):
        writer.write(
            head("/v1/check", "application/json", b"Content-Length: %d\r\n" % len(body)) + body
        )
        await writer.drain()
        await asyncio.sleep(0.01)


async def tiny_pieces(target: Target) -> None:
    """Flood a growing text with pieces of one letter."""
    async with target.connection() as (reader, writer):
        writer.write(
            b"GET /v1/watch HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in answer:
            raise ConnectionError("the server refused the socket")
        message = b'{"text":"a"}'
        # A text frame with a mask of zeros.
        frame = bytes((0x81, 0x80 | len(message))) + bytes(4) + message
        reading = asyncio.create_task(_drop(reader))
        try:
            for _ in range(100):
                writer.write(frame * 1000)
                await asyncio.wait_for(writer.drain(), PATIENCE_S)
        finally:
            reading.cancel()


async def huge_events(target: Target) -> None:
    """Send a stream of events of nearly the greatest size."""
    await target.post("/ext_authz/v1/completions", _events(), "text/event-stream")


async def many_parts(target: Target) -> None:
    """Send a form of tens of thousands of parts."""
    await target.post("/ext_authz/v1/files", _parts(), "multipart/form-data; boundary=b")


async def tiny_chunks(target: Target) -> None:
    """Send a body in chunks of one byte."""
    async with target.connection() as (reader, writer):
        writer.write(head("/v1/check", "application/json", b"Transfer-Encoding: chunked\r\n"))
        for _ in range(100):
            writer.write(b"1\r\n \r\n" * 3000)
            await asyncio.wait_for(writer.drain(), PATIENCE_S)
        writer.write(b"0\r\n\r\n")
        await asyncio.wait_for(reader.read(1024), PATIENCE_S)


async def idle_stream(target: Target) -> None:
    """Open a stream of Envoy's ext_proc and hold it."""
    # An attacker over HTTP needs no gRPC.
    import grpc
    import grpc.aio
    from envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest
    from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub

    async def messages() -> AsyncIterator[ProcessingRequest]:
        yield ProcessingRequest(request_headers=HttpHeaders())
        await asyncio.sleep(_HOLD_S)

    # Several streams share a connection, as Envoy's do.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{target.grpc_port}", options) as channel:
        process = ExternalProcessorStub(channel).Process

        async def hold() -> None:
            async for _ in process(messages()):
                pass

        found = await asyncio.gather(*(hold() for _ in range(100)), return_exceptions=True)
    if any(isinstance(each, grpc.RpcError) for each in found):
        raise ConnectionError("the server refused a stream")


async def reload(target: Target) -> None:
    """Let the server open its bundle again; the signal of an operator gone wild."""
    os.kill(target.pid, signal.SIGHUP)


async def _drip(connection: Connection, first: bytes) -> None:
    _, writer = connection
    writer.write(first)
    for _ in range(int(_HOLD_S / _DRIP_S)):
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(_DRIP_S)


async def _drop(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        pass


# Made once: an attacker that computes would take the processors from the server by itself.


@cache
def _nested() -> bytes:
    return b'{"prompt": "good", "x": ' + b"[" * (_MB - 50) + b"]" * (_MB - 50) + b"}"


@cache
def _tensor() -> bytes:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [9] * 600_000, "data": ["good"]}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


@cache
def _numbers() -> bytes:
    numbers = ",".join(["9" * 5000] * 300)
    return f'{{"a": "b", "x": [{numbers}]}}'.encode()


@cache
def _events() -> bytes:
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
    return event * (int(1.9 * _MB) // len(event))


@cache
def _parts() -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\na\r\n'
    return part * (_MB // len(part)) + b"--b--\r\n"
