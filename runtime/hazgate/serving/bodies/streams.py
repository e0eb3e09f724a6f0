"""Read the events of a stream, the pieces of each growing text joined."""

from collections.abc import Sequence

from hazgate.judging.speech import Side
from hazgate.serving.bodies.asides import Aside
from hazgate.serving.bodies.growth import GrowingTexts, Growth
from hazgate.serving.bodies.passages import BodyText, Said, Unread, distinct
from hazgate.serving.bodies.rules import free_context
from hazgate.serving.bodies.strict_json import parse_lenient
from hazgate.serving.bodies.walk import Walk


def read_events(
    events: Sequence[object], side: Side = "response", asides: Sequence[Aside] = ()
) -> BodyText:
    """Read the events of a stream, the pieces of each growing text joined.

    Args:
        events: the values of its events.
        side: as of `read_value`.
        asides: what stood beside them.

    Raises:
        InputError: as in `read_value`, of any event.
    """
    growing = GrowingTexts()
    walk = Walk(side, growing)
    for event in events:
        walk.visit_root(event)
    for aside in asides:
        walk.add_aside(aside)
    texts = [text for grown in growing.whole() for text in _grown_texts(grown)]
    return BodyText(passages=distinct(texts), unread=tuple(walk.unread()))


class EventReader:
    """A reader of a stream's events, one after another; see `read_events`."""

    def __init__(self, side: Side = "response") -> None:
        """Start before the first event."""
        self._growing = GrowingTexts()
        self._walk = Walk(side, self._growing)
        self._n_unread = 0

    def add(self, event: object) -> None:
        """Read the next event.

        Raises:
            InputError: as in `read_events`.
        """
        self._walk.visit_root(event)

    def add_aside(self, aside: Aside) -> None:
        """Read what stood beside the events; one kind of aside is one growing text."""
        self._walk.add_aside(aside)

    def grown(self) -> list[Growth]:
        """Return what each text gained since the last call."""
        return self._growing.take()

    def unread(self) -> list[Unread]:
        """Return the parts that are no text and came since the last call."""
        parts = self._walk.unread()[self._n_unread :]
        self._n_unread += len(parts)
        return parts


def _grown_texts(grown: Growth) -> Sequence[Said]:
    """Return a text of a stream, or those of the JSON that it is."""
    inner = parse_lenient(grown.text) if grown.nested else None
    if inner is None:
        return [(grown.text, grown.place, grown.role)]
    walk = Walk("response")
    walk.visit(inner, free_context(grown.role, "assistant"), None, grown.place, 1)
    return [(passage.text, grown.place, grown.role) for passage in walk.result().passages]
