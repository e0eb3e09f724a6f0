"""Rules of Envoy's external authorization and processing that HTTP and gRPC share."""

from collections.abc import Iterable, Mapping

from hazgate.errors import InputError
from hazgate.serving.bodies.read import upgrades_of
from hazgate.serving.failures import UNREAD_HEADER

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


def with_upgrade(answer: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an answer, which name an upgrade as unread if the request has one.

    Args:
        answer: the answer's headers so far.
        headers: of the request, as of `joined_headers`.
    """
    if not upgrades_of(headers):
        return dict(answer)
    unread = [answer[UNREAD_HEADER]] if UNREAD_HEADER in answer else []
    return {**answer, UNREAD_HEADER: ", ".join([*unread, "upgrade"])}


def joined_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name in lower case; values of one name are joined, so that none hides."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return headers
