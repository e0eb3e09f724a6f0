"""Ids of requests, for logs and traces."""

import secrets
from contextvars import ContextVar

HEADER = "x-request-id"
_MAX_LENGTH = 128

current_request_id: ContextVar[str] = ContextVar("hazgate_request_id", default="")


def choose_request_id(given: str) -> str:
    """Return the caller's id if a log can hold it, else a new one."""
    usable = 0 < len(given) <= _MAX_LENGTH and given.isascii() and given.isprintable()
    return given if usable else secrets.token_hex(8)
