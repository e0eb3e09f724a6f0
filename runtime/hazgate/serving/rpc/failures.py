"""From an error to a gRPC status: what the caller should do, in gRPC's words."""

from collections.abc import Mapping

import grpc

from hazgate.errors import HazgateError
from hazgate.serving.failures import failure_of

_CODES: Mapping[str, grpc.StatusCode] = {
    "invalid_input": grpc.StatusCode.INVALID_ARGUMENT,
    # What callers try again elsewhere.
    "overloaded": grpc.StatusCode.UNAVAILABLE,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "inference_failed": grpc.StatusCode.INTERNAL,
}


def status_of(error: HazgateError) -> tuple[grpc.StatusCode, str]:
    """A code, and a sentence without any text of the caller's."""
    failure = failure_of(error)
    return _CODES.get(failure.code, grpc.StatusCode.INTERNAL), failure.message
