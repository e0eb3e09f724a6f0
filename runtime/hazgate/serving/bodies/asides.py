"""Text of a stream that stands beside its data: comments, names of events, ids.

A client by the standard shows none of it, and any client may. So what is not of a form that APIs
use is read like the rest.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hazgate.serving.bodies.fields import is_id, words

# Comments that keep a connection open, with or without a time.
_KEEP_ALIVE = re.compile(
    r"(ping|pong|keep-?alive|heartbeat|open|ok|connected|start|stream|(OPENROUTER )?PROCESSING)?"
    r"[ \-]{0,3}[0-9T:.+\- Z]{0,40}",
    re.IGNORECASE,
)
# Names of events as APIs have them: words of a closed set, joined.
_NAME_WORDS = words(
    """
    message messages start stop delta content block ping error thread run step requires action
    cancelling cancelled expired created queued in progress completed failed incomplete done end
    text generation stream tool plan call calls chunk citation citations search queries results
    response output item added part refusal function arguments file searching web interpreting code
    interpreter image generating partial mcp list tools reasoning summary annotation custom input
    audio transcript endpoint update notification open close closed data event keep alive heartbeat
    metadata usage final partial result
    """
)
_JOINTS = re.compile(r"[._\-/]")
# Shorter letters between joints are no words.
_SHORT = re.compile(r"[A-Za-z0-9]{1,2}")


def _words_of(name: str) -> list[str]:
    return [part for part in _JOINTS.split(name) if not _SHORT.fullmatch(part)]


_NO_TEXT: Mapping[str, Callable[[str], bool]] = {
    "comment": lambda text: _KEEP_ALIVE.fullmatch(text) is not None,
    "event": lambda text: len(text) <= 64 and _NAME_WORDS.issuperset(_words_of(text)),
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
