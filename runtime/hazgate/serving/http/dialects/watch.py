"""A text that a model is still writing, checked piece by piece over a WebSocket.

The client sends `{"text": "…"}` for each piece and gets an answer each time; `{"end": true}` asks
for the verdict on the whole text and ends. An answer says how many characters of the text were
`read`: only those are judged by `unsafe`. A gateway that shows no more than was read never shows
an unsafe text.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, ValidationError

from hazgate.errors import HazgateError, InputError
from hazgate.serving.failures import failure_of
from hazgate.serving.service import RequestFacts, Service
from hazgate.text.watch import Watch

ROUTE = "watch"
# RFC 6455, and IANA's "try again later".
_CLOSE_CODES: Mapping[str, int] = {"invalid_input": 1008, "overloaded": 1013}
_CLOSE_FAILED = 1011
# Checks of growing texts that wait for the engine at a time. They have threads of their own, so
# that they keep nothing else waiting.
_MAX_CHECKS = 32


class Piece(BaseModel):
    """A client's message: a piece of the text, or its end."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = ""
    end: bool = False


def router(service: Service) -> APIRouter:
    """Return the WebSocket route `/v1/watch`."""
    routes = APIRouter(tags=["hazgate"])
    threads = ThreadPoolExecutor(_MAX_CHECKS, thread_name_prefix="hazgate-watch")

    @routes.websocket("/v1/watch")
    async def watch(socket: WebSocket, tenant: str | None = None) -> None:
        start_s = time.monotonic()
        growing: Watch | None = None
        await socket.accept()
        outcome = "cancelled"
        try:
            growing = service.watch(caller=socket.state.caller, tenant=tenant)
            await _converse(socket, growing, threads)
            outcome = "ok"
        except WebSocketDisconnect:
            pass
        except HazgateError as error:
            outcome = type(error).__name__
            failure = failure_of(error)
            await socket.send_json(failure.body)
            await socket.close(_CLOSE_CODES.get(failure.code, _CLOSE_FAILED))
        finally:
            service.report(
                RequestFacts(
                    route=ROUTE,
                    outcome=outcome,
                    seconds=time.monotonic() - start_s,
                    n_texts=1,
                    verdicts=(growing.verdict,)
                    if growing and growing.verdict and outcome == "ok"
                    else (),
                )
            )

    return routes


async def _converse(socket: WebSocket, growing: Watch, threads: Executor) -> None:
    """Answer pieces until the client ends the text.

    Raises:
        WebSocketDisconnect: it hung up.
        HazgateError: a piece cannot be read, or there is no verdict.
    """
    loop = asyncio.get_running_loop()
    while True:
        piece = _piece(await socket.receive_text())
        n_checks = growing.n_checks
        if piece.text:
            # This tokenises and waits for the engine.
            await loop.run_in_executor(threads, growing.add, piece.text)
        if piece.end:
            verdict = await loop.run_in_executor(threads, growing.finish)
            unsafe = growing.unsafe or verdict.flagged
            await socket.send_json(_answer(growing, verdict.to_dict(), unsafe=unsafe))
            await socket.close()
            return
        new = growing.verdict if growing.n_checks > n_checks else None
        await socket.send_json(
            _answer(growing, new.to_dict() if new else None, unsafe=growing.unsafe)
        )


def _piece(message: str) -> Piece:
    try:
        return Piece.model_validate_json(message)
    except ValidationError:
        raise InputError('expected {"text": "…"} or {"end": true}') from None


def _answer(growing: Watch, verdict: dict[str, Any] | None, *, unsafe: bool) -> dict[str, Any]:
    return {
        "unsafe": unsafe,
        "read": growing.n_read,
        "received": growing.n_characters,
        "verdict": verdict,
    }
