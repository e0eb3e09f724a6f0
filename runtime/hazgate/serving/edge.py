"""What every request passes first: an id, a key, and a limit on its body. Plain ASGI."""

import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hazgate.errors import BundleError

_REQUEST_ID = "x-request-id"
_MAX_REQUEST_ID = 128
# A probe has no key, and answers nothing about any text.
_OPEN_PREFIXES = ("/health/", "/v2/health/")
# The page itself; what it asks needs a key like any other request.
_PLAYGROUND = "/"


def read_api_keys(file: Path) -> tuple[bytes, ...]:
    """SHA-256 of each key in a file, one key a line, blank lines and lines with # left out.

    Raises:
        BundleError: the file cannot be read, or has no key: a server without keys is one without
            the setting, not one with an empty file.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} cannot be read as API keys: {type(error).__name__}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise BundleError(f"{file} has no API key; leave the setting out to serve without keys")
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


class Edge:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, key_digests: Sequence[bytes]) -> None:
        """Wraps `app`; without `key_digests` no key is asked for."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._key_digests = tuple(key_digests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or whatever else ASGI brings."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        client = scope.get("client")
        digest = _key_digest(headers)
        # Callers take turns in the queue: by key where there are keys, else by address.
        caller = client[0] if client else ""
        if self._key_digests and digest is not None:
            caller = digest.hex()
        scope.setdefault("state", {})["caller"] = caller

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_REQUEST_ID] = request_id
            await send(message)

        if not self._admitted(scope["path"], digest):
            await _refuse(answer, 401, "unauthorized", "a known API key is needed as bearer token")
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body_bytes:
            await self._too_large(answer)
            return
        n_bytes = 0
        started = False

        async def limited() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_body_bytes:
                raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            # What the application makes of a body that was cut off is no answer.
            if n_bytes <= self._max_body_bytes:
                started = True
                await answer(message)

        with contextlib.suppress(_TooLarge):
            await self._app(scope, limited, watched)
        if not started and n_bytes > self._max_body_bytes:
            await self._too_large(answer)

    def _admitted(self, path: str, digest: bytes | None) -> bool:
        if not self._key_digests or path == _PLAYGROUND or path.startswith(_OPEN_PREFIXES):
            return True
        # All are compared, so that time does not tell how many there are before a match.
        matches = [hmac.compare_digest(digest or b"", known) for known in self._key_digests]
        return any(matches)

    async def _too_large(self, send: Send) -> None:
        words = f"the body is over {self._max_body_bytes} bytes"
        await _refuse(send, 413, "too_large", words)


class _TooLarge(Exception):  # noqa: N818 - never leaves this file
    """A body without a length turned out to be too long."""


def _request_id(headers: Headers) -> str:
    """The caller's, where it is one that a log can hold, or a new one."""
    given = headers.get(_REQUEST_ID, "")
    usable = 0 < len(given) <= _MAX_REQUEST_ID and given.isascii() and given.isprintable()
    return given if usable else secrets.token_hex(8)


def _key_digest(headers: Headers) -> bytes | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        return None
    return hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
