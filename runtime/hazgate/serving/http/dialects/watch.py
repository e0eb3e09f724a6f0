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
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, ValidationError

from hazgate.errors import HazgateError, InputError
from hazgate.serving.failures import failure_of
from hazgate.serving.queue.growing_check import GrowingCheck
from hazgate.serving.service import RequestFacts, Service
from hazgate.text.watch import Watch

ROUTE = "watch"
# RFC 6455, and IANA's "try again later".
_CLOSE_CODES: Mapping[str, int] = {"invalid_input": 1008, "overloaded": 1013}
_CLOSE_FAILED = 1011
# Checks of growing texts that wait for the engine at a time. They have threads of their own, so
# that they keep nothing else waiting.
_MAX_CHECKS = 32
# Pieces of a client that are read before its last one was answered.
_PIECES_AHEAD = 16
_IDLE_LOOK_S = 0.05


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
        check: GrowingCheck | None = None
        try:
            own = service.tenant_of(socket.state.caller, tenant)
            check = service.growing_check(caller=socket.state.caller, tenant=own)
            growing = service.gate.watch(tenant=own, check=check)
            await _Conversation(
                socket=socket,
                growing=growing,
                threads=threads,
                idle_s=service.settings.socket_idle_s,
            ).hold()
            outcome = "ok"
        except WebSocketDisconnect:
            pass
        except HazgateError as error:
            outcome = type(error).__name__
            failure = failure_of(error)
            await socket.send_json(failure.body)
            await socket.close(_CLOSE_CODES.get(failure.code, _CLOSE_FAILED))
        finally:
            if check is not None:
                check.give_up()
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


@dataclass(kw_only=True, slots=True)
class _Conversation:
    """One client and its growing text, piece by piece."""

    socket: WebSocket
    growing: Watch
    threads: Executor
    idle_s: float
    n_unanswered: int = 0
    last_s: float = field(default_factory=time.monotonic)
    pieces: "asyncio.Queue[str]" = field(default_factory=lambda: asyncio.Queue(_PIECES_AHEAD))

    async def hold(self) -> None:
        """Answer pieces until the client ends the text; end at once if it hangs up.

        Raises:
            WebSocketDisconnect: it hung up.
            HazgateError: a piece cannot be read, or there is no verdict, or the client was silent.
        """
        tasks = {
            asyncio.ensure_future(each) for each in (self._read(), self._answer(), self._sit())
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def _read(self) -> None:
        """Read pieces ahead, so that a client that hangs up is noticed while its text is read."""
        while True:
            piece = await self.socket.receive_text()
            self.last_s = time.monotonic()
            self.n_unanswered += 1
            await self.pieces.put(piece)

    async def _sit(self) -> None:
        """Wait until the client was silent too long, although it waited for nothing."""
        while True:
            left_s = self.last_s + self.idle_s - time.monotonic()
            if left_s <= 0 and not self.n_unanswered:
                raise InputError(
                    f"no piece came for {self.idle_s:g} s: send pieces or the end, or raise "
                    "socket_idle_s"
                )
            await asyncio.sleep(max(left_s, _IDLE_LOOK_S))

    async def _answer(self) -> None:
        loop = asyncio.get_running_loop()
        growing, threads = self.growing, self.threads
        while True:
            piece = _piece(await self.pieces.get())
            n_checks = growing.n_checks
            if piece.text:
                # This tokenises and waits for the engine.
                await loop.run_in_executor(threads, growing.add, piece.text)
            if piece.end:
                verdict = await loop.run_in_executor(threads, growing.finish)
                unsafe = growing.unsafe or verdict.flagged
                await self.socket.send_json(_answer(growing, verdict.to_dict(), unsafe=unsafe))
                await self.socket.close()
                return
            new = growing.verdict if growing.n_checks > n_checks else None
            await self.socket.send_json(
                _answer(growing, new.to_dict() if new else None, unsafe=growing.unsafe)
            )
            self.n_unanswered -= 1
            self.last_s = time.monotonic()


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
