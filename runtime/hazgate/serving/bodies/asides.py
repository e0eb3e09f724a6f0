"""Text of a stream that stands beside its data: comments, names of events, ids.

A client by the standard shows none of it, and any client may. So what is not of a form that APIs
use is read like the rest.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hazgate.serving.bodies.fields import is_event_name, is_id

# Comments that keep a connection open, with or without a time.
_KEEP_ALIVE = re.compile(
    r"(ping|pong|keep-?alive|heartbeat|open|ok|connected|start|stream|(OPENROUTER )?PROCESSING)?"
    r"[ \-]{0,3}[0-9T:.+\- Z]{0,40}",
    re.IGNORECASE,
)
_NO_TEXT: Mapping[str, Callable[[str], bool]] = {
    "comment": lambda text: _KEEP_ALIVE.fullmatch(text) is not None,
    "event": is_event_name,
    "id": is_id,
    "retry": lambda text: len(text) <= 10 and text.isascii() and text.isdecimal(),
}


class Aside(NamedTuple):
    """Text of a stream that is no data: a comment, or the value of a field.

    `place` is "comment" or the field's name.
    """

    place: str
    text: str


def aside_of(place: str, text: str) -> Aside | None:
    """Return a comment's text or a field's value if it may be text; None if it is none."""
    text = text.strip()
    return Aside(place=place, text=text) if text and not _NO_TEXT[place](text) else None
