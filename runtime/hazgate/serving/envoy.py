"""Rules of Envoy's external authorization and processing that HTTP and gRPC share."""

from collections.abc import Mapping

from hazgate.errors import InputError

BLOCKED_STATUS, UNREADABLE_STATUS = 403, 400
_PARTIAL = "x-envoy-auth-partial-body"


def check_whole(headers: Mapping[str, str]) -> None:
    """Check that Envoy sent the whole body of a request to authorize.

    Raises:
        InputError: Envoy cut the body.
    """
    if headers.get(_PARTIAL, "").lower() == "true":
        raise InputError("Envoy cut the body; raise max_request_bytes")
