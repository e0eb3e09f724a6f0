"""Answers to errors: HTTP statuses that tell the caller what to do."""

from dataclasses import dataclass
from typing import Any

from hazgate.errors import (
    DeadlineExceeded,
    HazgateError,
    InferenceError,
    InputError,
    Overloaded,
)

RETRY_AFTER_S = 1
FAILED_OPEN_HEADER = "x-hazgate-failed-open"
UNREAD_HEADER = "x-hazgate-unread"
# ONNX Runtime's own words may hold names of nodes, shapes and token ids: they are in the log.
_ENGINE_FAILED = "the engine failed; the server's log says why"
_TOO_MANY = "too_many_requests"
_RETRIED = ("overloaded", _TOO_MANY)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureAnswer:
    """An HTTP status, a code for programs, and a sentence for people without any user text.

    `param` is the field of the request that is wrong, where one is known.
    """

    status: int
    code: str
    message: str
    param: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {"retry-after": str(RETRY_AFTER_S)} if self.code in _RETRIED else {}

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON, where a dialect has no form of its own."""
        return error_body(self.code, self.message)


def error_body(code: str, message: str) -> dict[str, Any]:
    """Return the JSON of an error: a code for programs, and a sentence for people."""
    return {"error": {"code": code, "message": message}}


def too_many(message: str) -> FailureAnswer:
    """Return 429: the caller's own doing.

    503 is an outage to gateways, and some of them then let a request pass.
    """
    return FailureAnswer(status=429, code=_TOO_MANY, message=message)


def failure_of(error: HazgateError) -> FailureAnswer:
    """Return 503 if a retry may help, 504 if time ran out, else 400 or 500."""
    kinds: tuple[tuple[type[HazgateError], int, str], ...] = (
        (InputError, 400, "invalid_input"),
        (Overloaded, 503, "overloaded"),
        (DeadlineExceeded, 504, "deadline_exceeded"),
        (InferenceError, 500, "inference_failed"),
    )
    for kind, status, code in kinds:
        if isinstance(error, kind):
            message = _ENGINE_FAILED if kind is InferenceError else str(error)
            return FailureAnswer(status=status, code=code, message=message)
    return FailureAnswer(status=500, code="internal", message=type(error).__name__)
