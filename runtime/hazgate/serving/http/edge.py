"""The outermost layer: request ids, API keys, and limits on bodies and sockets. Plain ASGI.

A body is read whole before the application runs. An application with a heavy body runs on a second
event loop, so that its reading and answering hold up nobody else.
"""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hazgate.errors import Overloaded
from hazgate.serving.failures import FailureAnswer, failure_of, too_many
from hazgate.serving.http.error_forms import ErrorForm, answer_in_form
from hazgate.serving.http.hang_up import run_while_connected
from hazgate.serving.http.whole_body import BodyLimits, HungUp, WholeBody
from hazgate.serving.keys import KEY_NEEDED, KeyRing, key_digest
from hazgate.serving.request_id import HEADER as REQUEST_ID
from hazgate.serving.request_id import choose_request_id, current_request_id
from hazgate.serving.settings import ServeSettings
from hazgate.serving.shares import Shares
from hazgate.serving.side_loop import SideLoop, is_heavy, is_much

# Probes have no key; their answers say nothing about any text.
_OPEN_PREFIXES = ("/health/", "/v2/health/")
# A probe of KServe's.
_MODEL_READY = re.compile(r"/v2/models/[^/]+/ready")
# The page itself; its requests need a key like all others.
_PLAYGROUND = "/"
# RFC 6455, and IANA's "try again later"; before the handshake, the server answers 403.
_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013
_DENIAL = "websocket.http.response"


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeLimits:
    """Limits at the edge, as `ServeSettings` has them."""

    max_body_bytes: int
    body_timeout_s: float
    max_bytes_in_flight: int
    max_sockets: int


def edge_limits(settings: ServeSettings) -> EdgeLimits:
    """Return the limits at the edge that settings have."""
    return EdgeLimits(
        max_body_bytes=settings.request.max_body_bytes,
        body_timeout_s=settings.request.body_timeout_s,
        max_bytes_in_flight=settings.request.max_bytes_in_flight,
        max_sockets=settings.max_sockets,
    )


class Edge:
    """Middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: EdgeLimits,
        keys: KeyRing,
        error_forms: Sequence[ErrorForm] = (),
        side_loop: SideLoop | None = None,
    ) -> None:
        """Wrap `app`.

        Args:
            app: an application that answers each request whole.
            limits: of bodies and sockets.
            keys: the API keys that are accepted.
            error_forms: forms of errors, by path.
            side_loop: runs `app` for heavy bodies; None runs all of them here.
        """
        self._app = app
        self._bodies = BodyLimits(
            max_bytes=limits.max_body_bytes,
            timeout_s=limits.body_timeout_s,
            in_flight=Shares(
                "bytes of bodies in flight",
                most=limits.max_bytes_in_flight,
                setting="request.max_bytes_in_flight",
            ),
        )
        self._sockets = Shares("open sockets", most=limits.max_sockets, setting="max_sockets")
        self._keys = keys
        self._error_forms = tuple(error_forms)
        self._side_loop = side_loop

    def apply(self, limits: EdgeLimits) -> None:
        """Take other limits, for what comes from now on."""
        in_flight = self._bodies.in_flight
        in_flight.limit(limits.max_bytes_in_flight)
        self._sockets.limit(limits.max_sockets)
        self._bodies = BodyLimits(
            max_bytes=limits.max_body_bytes, timeout_s=limits.body_timeout_s, in_flight=in_flight
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or pass on any other ASGI event."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = choose_request_id(headers.get(REQUEST_ID, ""))
        current_request_id.set(request_id)
        client = scope.get("client")
        digest = key_digest(headers)
        # Callers take turns in the queue: by key if the server has keys, else by address.
        caller = client[0] if client else ""
        if self._keys.needed and digest is not None:
            caller = digest.hex()
        scope.setdefault("state", {})["caller"] = caller
        is_open = _is_open(scope["path"])
        if not is_open and self._keys.needed and not self._keys.accepts(digest):
            refusal = FailureAnswer(status=401, code="unauthorized", message=KEY_NEEDED)
            await self._refuse(scope, send, refusal, request_id)
            return
        # Probes do not count.
        counted = "" if is_open else caller
        over = self._keys.begin(counted)
        if over is not None:
            await self._refuse(scope, send, too_many(over), request_id)
            return
        try:
            if scope["type"] == "websocket":
                await self._converse(scope, receive, send, caller)
            else:
                await self._answer(scope, receive, _Answer(send, request_id), caller)
        finally:
            self._keys.end(counted)

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer", caller: str) -> None:
        """Answer a request over HTTP."""
        refusal = self._refusal(Headers(scope=scope))
        if refusal is None:
            try:
                with WholeBody(self._bodies, caller) as body:
                    refusal = await body.read(receive)
                    if refusal is None:
                        await self._run(scope, receive, answer, body)
            except HungUp:
                # Nobody is there to be answered.
                return
        if refusal is not None:
            for message in self._spelt(scope["path"], refusal):
                await answer.send(message)

    async def _run(
        self, scope: Scope, receive: Receive, answer: "_Answer", body: WholeBody
    ) -> None:
        """Let the application answer a request that came whole."""
        run = partial(self._app, scope, body.replayed())
        if self._side_loop is None or not _is_heavy(scope, body):
            await run_while_connected(lambda: run(answer.send), receive, lambda: answer.is_whole)
            return
        # The connection belongs to this event loop.
        messages: list[Message] = []
        side_loop = self._side_loop
        try:
            await run_while_connected(
                lambda: side_loop.run(lambda: _collect(run, messages)),
                receive,
                lambda: False,
                is_heavy=True,
            )
        finally:
            for message in messages:
                await answer.send(message)

    async def _converse(self, scope: Scope, receive: Receive, send: Send, caller: str) -> None:
        """Let the application hold a WebSocket open, if there is room."""
        try:
            self._sockets.take(caller)
        except Overloaded as error:
            await self._deny(scope, send, failure_of(error))
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets.give_back(caller)

    async def _refuse(
        self, scope: Scope, send: Send, refusal: FailureAnswer, request_id: str
    ) -> None:
        """Refuse a request, or a WebSocket, because of its key."""
        if scope["type"] == "websocket":
            await self._deny(scope, send, refusal)
            return
        answer = _Answer(send, request_id)
        for message in self._spelt(scope["path"], refusal):
            await answer.send(message)

    async def _deny(self, scope: Scope, send: Send, refusal: FailureAnswer) -> None:
        """Refuse a WebSocket before its handshake, with the reason where the server can say it."""
        if refusal.status != 401 and _DENIAL in (scope.get("extensions") or {}):
            for message in self._spelt(scope["path"], refusal):
                await send({**message, "type": f"websocket.{message['type']}"})
            return
        code = _POLICY_VIOLATION if refusal.status == 401 else _TRY_AGAIN_LATER
        await send({"type": "websocket.close", "code": code, "reason": refusal.code})

    def _refusal(self, headers: Headers) -> FailureAnswer | None:
        """Return the answer to a request whose head is enough to refuse it, else None."""
        length = headers.get("content-length", "0")
        # Python refuses to read a number of thousands of digits.
        if not length.isdecimal() or len(length) > 15 or int(length) > self._bodies.max_bytes:
            return self._bodies.too_large
        return None

    def _spelt(self, path: str, failure: FailureAnswer) -> list[Message]:
        """Return the messages that answer a failure in the form of its path."""
        formed = answer_in_form(self._error_forms, path, failure)
        body = json.dumps(formed.body).encode()
        headers = {
            **formed.headers,
            "content-type": "application/json",
            "content-length": str(len(body)),
        }
        return [
            {
                "type": "http.response.start",
                "status": formed.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            },
            {"type": "http.response.body", "body": body},
        ]


class _Answer:
    """The answer to one request; it carries the request's id."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.is_whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[REQUEST_ID] = self._request_id
        elif message["type"] == "http.response.body":
            self.is_whole = not message.get("more_body", False)
        await self._send(message)


def _is_open(path: str) -> bool:
    """Return whether a path needs no key."""
    return (
        path == _PLAYGROUND
        or path.startswith(_OPEN_PREFIXES)
        or _MODEL_READY.fullmatch(path) is not None
    )


def _is_heavy(scope: Scope, body: WholeBody) -> bool:
    n_address = len(scope["path"]) + len(scope["query_string"])
    return is_heavy(body.content) or is_much(n_bytes=n_address)


async def _collect(run: Callable[[Send], Awaitable[None]], messages: list[Message]) -> None:
    async def collect(message: Message) -> None:
        messages.append(message)

    await run(collect)
