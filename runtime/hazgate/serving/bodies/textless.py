"""Requests that hold no text and are complete all the same, e.g. one that loads a model.

All of such a body was read, and nothing in it was text. Any other body without text is refused: a
gateway may have been told not to send it, or it is in a form that nobody knows.
"""

import re

from hazgate.serving.bodies.strict_json import parse
from hazgate.serving.bodies.table import APIS

_MOST_BYTES = 4096
_ROUTES = tuple(
    (re.compile(".*" + re.escape(each.route).replace(r"\*", "[^/]+")), each.keys)
    for api in APIS
    for each in api.textless
)


def may_hold_no_text(path: str, body: bytes) -> bool:
    """Recognise a complete request without text.

    Args:
        path: of the request, with or without its query; empty if it is not known.
        body: all of it, in which no text and nothing unread was found.
    """
    if len(body) > _MOST_BYTES:
        return False
    if b'"jsonrpc"' in body:
        return _are_calls(parse(body))
    keys = _keys_at(path)
    if keys is None:
        return False
    value = parse(body)
    return isinstance(value, dict) and keys.issuperset(value)


def _are_calls(value: object) -> bool:
    """Recognise messages of JSON-RPC that name a method or a call, and nothing else.

    A client of MCP begins with them.
    """
    calls = value if isinstance(value, list) else [value]
    return all(isinstance(call, dict) and call.get("jsonrpc") == "2.0" for call in calls)


def _keys_at(path: str) -> frozenset[str] | None:
    """Return the members that a request without text may have at a path; None if it needs text."""
    route = path.partition("?")[0].rstrip("/")
    found = [keys for pattern, keys in _ROUTES if pattern.fullmatch(route)]
    return frozenset[str]().union(*found) if found else None
