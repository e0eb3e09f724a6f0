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
        return {"retry-after": str(RETRY_AFTER_S)} if self.code == "overloaded" else {}

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON, where a dialect has no form of its own."""
        return error_body(self.code, self.message)


def error_body(code: str, message: str) -> dict[str, Any]:
    """Return the JSON of an error: a code for programs, and a sentence for people."""
    return {"error": {"code": code, "message": message}}


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
            return FailureAnswer(status=status, code=code, message=str(error))
    return FailureAnswer(status=500, code="internal", message=type(error).__name__)
