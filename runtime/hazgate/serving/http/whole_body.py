"""A request's body, read whole before the application runs, within all limits."""

import asyncio
import time
from dataclasses import dataclass

from starlette.types import Message, Receive

from hazgate.errors import Overloaded
from hazgate.serving.failures import FailureAnswer, failure_of
from hazgate.serving.shares import Shares

# A body must arrive at this rate, beyond the time that one part of it may take.
_MIN_BODY_BYTES_PER_S = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyLimits:
    """Limits of one body, and the bytes that all bodies of all callers share.

    `timeout_s` is how long the next part may take to arrive.
    """

    max_bytes: int
    timeout_s: float
    in_flight: Shares

    @property
    def too_large(self) -> FailureAnswer:
        """The answer to a body over the limit."""
        message = f"the body exceeds the limit of {self.max_bytes} bytes"
        return FailureAnswer(status=413, code="too_large", message=message)

    @property
    def too_slow(self) -> FailureAnswer:
        """The answer to a body that does not come."""
        message = (
            f"the body, or its next part, did not arrive within {self.timeout_s:g} s, or "
            f"came slower than {_MIN_BODY_BYTES_PER_S} bytes a second"
        )
        return FailureAnswer(status=408, code="body_timeout", message=message)


class HungUp(Exception):  # noqa: N818 - reads as the event that it names
    """A client that hung up within its body."""


class WholeBody:
    """The body of one request, which counts as in flight until the end of the `with` block."""

    def __init__(self, limits: BodyLimits, caller: str) -> None:
        """Start with nothing read."""
        self._limits = limits
        self._caller = caller
        self._n_taken = 0
        self._bytes = b""

    def __enter__(self) -> "WholeBody":  # noqa: PYI034 - typing.Self is Python 3.11's
        return self

    def __exit__(self, *_: object) -> None:
        self._limits.in_flight.give_back(self._caller, self._n_taken)

    @property
    def content(self) -> bytes:
        """The bytes that were read."""
        return self._bytes

    async def read(self, receive: Receive) -> FailureAnswer | None:
        """Read all of it; return the answer to a body that breaks a limit, else None.

        Raises:
            HungUp: the client hung up before its end.
        """
        limits = self._limits
        deadline_s = time.monotonic() + limits.timeout_s
        parts = bytearray()
        more = True
        while more:
            left_s = deadline_s - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(limits.timeout_s, left_s)))
            except asyncio.TimeoutError:
                return limits.too_slow
            if message["type"] == "http.disconnect":
                raise HungUp
            part = message.get("body", b"")
            if self._n_taken + len(part) > limits.max_bytes:
                return limits.too_large
            try:
                limits.in_flight.take(self._caller, len(part))
            except Overloaded as error:
                return failure_of(error)
            self._n_taken += len(part)
            deadline_s += len(part) / _MIN_BODY_BYTES_PER_S
            parts += part
            more = message.get("more_body", False)
        self._bytes = bytes(parts)
        return None

    def replayed(self) -> Receive:
        """Return the body as one message, as an application receives it; nothing follows."""
        messages: list[Message] = [
            {"type": "http.request", "body": self._bytes, "more_body": False}
        ]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            # The application is cancelled if the client hangs up, and needs no message.
            await asyncio.Event().wait()
            raise AssertionError

        return receive
