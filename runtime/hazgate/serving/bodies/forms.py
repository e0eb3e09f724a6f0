"""Forms of streams, recognised by their content type or by their first bytes."""

import codecs
from typing import Literal

from hazgate.serving.bodies.events import (
    ArrayParser,
    EventParser,
    LineParser,
    StreamParser,
    looks_like_events,
)
from hazgate.serving.bodies.read import LINES

# `whole` is no stream: it can only be read when it has ended.
StreamForm = Literal["events", "lines", "array", "text", "whole"]

# The longest beginning of a line that says that server-sent events follow.
_LONGEST_FIELD = len(b"event:")


def form_of(kind: str, start: bytes, *, end: bool) -> StreamForm | None:
    """Recognise the form of a response's body.

    Args:
        kind: its MIME type, in lower case.
        start: its first bytes.
        end: there are no more.

    Returns:
        The form, or None if more bytes are needed to tell.
    """
    if kind == "text/event-stream":
        return "events"
    if kind in LINES:
        return "lines"
    if looks_like_events(start):
        return "events"
    first = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if len(first) < _LONGEST_FIELD and not end:
        return None
    if first.startswith(b"["):
        return _of_array(first, end=end)
    if first.startswith(b"{"):
        return _of_object(first, end=end)
    return "text" if kind.startswith("text/") else "whole"


def parser_of(form: StreamForm) -> StreamParser | None:
    """Return a new parser for the events of a form; None for a form that has none."""
    if form == "events":
        return EventParser()
    if form == "lines":
        return LineParser()
    return ArrayParser() if form == "array" else None


def _of_array(first: bytes, *, end: bool) -> StreamForm | None:
    below = first[1:].lstrip()[:1]
    if not below:
        return "whole" if end else None
    return "array" if below == b"{" else "whole"


def _of_object(first: bytes, *, end: bool) -> StreamForm | None:
    """Tell lines of JSON from one JSON object by the line that follows the first."""
    line, _, after = first.partition(b"\n")
    if not line.rstrip().endswith(b"}"):
        more = b"\n" not in first and not end
        return None if more else "whole"
    following = after.lstrip()[:1]
    if not following:
        return "whole" if end else None
    return "lines" if following == b"{" else "whole"
