"""Rules of Envoy's external authorization and processing that HTTP and gRPC share."""

from collections.abc import Iterable, Mapping

from hazgate.errors import InputError

BLOCKED_STATUS, UNREADABLE_STATUS = 403, 400
_PARTIAL = "x-envoy-auth-partial-body"


def check_whole(headers: Mapping[str, str]) -> None:
    """Check that Envoy sent the whole body of a request to authorize.

    Args:
        headers: as of `joined_headers`.

    Raises:
        InputError: Envoy cut the body.
    """
    # Envoy adds its own value to one that a client may have sent.
    flags = headers.get(_PARTIAL, "").lower().split(",")
    if any(flag.strip() == "true" for flag in flags):
        raise InputError("Envoy cut the body; raise max_request_bytes")


def joined_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name in lower case; values of one name are joined, so that none hides."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return headers
