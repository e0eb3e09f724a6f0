"""From an error to a status: what the caller should do, in HTTP's words."""

from dataclasses import dataclass

from hazgate.errors import (
    DeadlineExceeded,
    HazgateError,
    InferenceError,
    InputError,
    Overloaded,
)

RETRY_AFTER_S = 1
FAILED_OPEN_HEADER = "x-hazgate-failed-open"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An HTTP status, a word for programs, and a sentence for people without any text of theirs."""

    status: int
    code: str
    message: str

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        return {"retry-after": str(RETRY_AFTER_S)} if self.code == "overloaded" else {}


def failure_of(error: HazgateError) -> Failure:
    """503 where another try may help, 504 where time ran out, 4xx and 500 where it will not."""
    kinds: tuple[tuple[type[HazgateError], int, str], ...] = (
        (InputError, 400, "invalid_input"),
        (Overloaded, 503, "overloaded"),
        (DeadlineExceeded, 504, "deadline_exceeded"),
        (InferenceError, 500, "inference_failed"),
    )
    for kind, status, code in kinds:
        if isinstance(error, kind):
            return Failure(status=status, code=code, message=str(error))
    return Failure(status=500, code="internal", message=type(error).__name__)
