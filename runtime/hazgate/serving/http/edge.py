"""The outermost layer: request ids, API keys and limits on bodies. Plain ASGI."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hazgate.serving.failures import FailureAnswer
from hazgate.serving.http.error_forms import ErrorForm, answer_in_form
from hazgate.serving.http.keys import KEY_NEEDED, is_known, key_digest
from hazgate.serving.request_id import HEADER as REQUEST_ID
from hazgate.serving.request_id import choose_request_id, current_request_id

# Probes have no key; their answers say nothing about any text.
_OPEN_PREFIXES = ("/health/", "/v2/health/")
# The page itself; its requests need a key like all others.
_PLAYGROUND = "/"
# A body must arrive at this rate, beyond the time that one part of it may take.
_MIN_BODY_BYTES_PER_S = 10_000
# RFC 6455; before the handshake, the server answers 403.
_POLICY_VIOLATION = 1008


class Edge:
    """Middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        body_timeout_s: float,
        key_digests: Sequence[bytes],
        error_forms: Sequence[ErrorForm] = (),
    ) -> None:
        """Wrap `app`; without `key_digests`, no key is needed."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s
        self._key_digests = tuple(key_digests)
        self._error_forms = tuple(error_forms)

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
        if self._key_digests and digest is not None:
            caller = digest.hex()
        scope.setdefault("state", {})["caller"] = caller

        if scope["type"] == "websocket":
            if self._admitted(scope["path"], digest):
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        async def refuse(failure: FailureAnswer) -> None:
            formed = answer_in_form(self._error_forms, scope["path"], failure)
            body = json.dumps(formed.body).encode()
            headers = {**formed.headers, "content-type": "application/json"}
            await answer(
                {
                    "type": "http.response.start",
                    "status": formed.status,
                    "headers": [
                        *((name.encode(), value.encode()) for name, value in headers.items()),
                        (b"content-length", b"%d" % len(body)),
                    ],
                }
            )
            await answer({"type": "http.response.body", "body": body})

        if not self._admitted(scope["path"], digest):
            await refuse(FailureAnswer(status=401, code="unauthorized", message=KEY_NEEDED))
            return
        length = headers.get("content-length", "0")
        # Python refuses to read a number of thousands of digits.
        if not length.isdecimal() or len(length) > 15 or int(length) > self._max_body_bytes:
            await refuse(self._too_large)
            return
        body = _LimitedBody(receive, self._max_body_bytes, self._body_timeout_s)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            # The application saw a body that was cut off; its answer must not be sent.
            if body.broken is None:
                started = True
                await answer(message)

        with contextlib.suppress(_BrokenBody):
            await self._app(scope, body.receive, watched)
        if not started and body.broken == "large":
            await refuse(self._too_large)
        elif not started and body.broken == "slow":
            message = (
                f"the body, or its next part, did not arrive within {self._body_timeout_s:g} s, or "
                f"came slower than {_MIN_BODY_BYTES_PER_S} bytes a second"
            )
            await refuse(FailureAnswer(status=408, code="body_timeout", message=message))

    def _admitted(self, path: str, digest: bytes | None) -> bool:
        if not self._key_digests or path == _PLAYGROUND or path.startswith(_OPEN_PREFIXES):
            return True
        return is_known(digest, self._key_digests)

    @property
    def _too_large(self) -> FailureAnswer:
        message = f"the body exceeds the limit of {self._max_body_bytes} bytes"
        return FailureAnswer(status=413, code="too_large", message=message)


class _BrokenBody(Exception):  # noqa: N818 - never leaves this file
    """The body is too long, or did not arrive in time."""


class _LimitedBody:
    """A request's messages, with limits; `broken` says which limit ended them early."""

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._left_bytes = max_bytes
        self._timeout_s = timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        self._whole = False
        self.broken: Literal["large", "slow"] | None = None

    async def receive(self) -> Message:
        # After the body comes only the end of the connection, which may take any time.
        left_s = self._deadline_s - time.monotonic()
        timeout_s = None if self._whole else max(0.0, min(self._timeout_s, left_s))
        try:
            message = await asyncio.wait_for(self._receive(), timeout_s)
        except asyncio.TimeoutError:
            self.broken = "slow"
            raise _BrokenBody from None
        n_bytes = len(message.get("body", b""))
        self._deadline_s += n_bytes / _MIN_BODY_BYTES_PER_S
        self._left_bytes -= n_bytes
        if self._left_bytes < 0:
            self.broken = "large"
            raise _BrokenBody
        self._whole = not message.get("more_body", False)
        return message
