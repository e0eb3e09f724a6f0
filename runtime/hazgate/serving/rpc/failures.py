"""Answers to errors: gRPC statuses that tell the caller what to do."""

from collections.abc import Mapping

import grpc

from hazgate.errors import HazgateError
from hazgate.serving.failures import failure_of

_CODES: Mapping[str, grpc.StatusCode] = {
    "invalid_input": grpc.StatusCode.INVALID_ARGUMENT,
    # Callers retry this one elsewhere.
    "overloaded": grpc.StatusCode.UNAVAILABLE,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "inference_failed": grpc.StatusCode.INTERNAL,
}


def status_of(error: HazgateError) -> tuple[grpc.StatusCode, str]:
    """Return a status code, and a sentence without any user text."""
    failure = failure_of(error)
    return _CODES.get(failure.code, grpc.StatusCode.INTERNAL), failure.message
