"""Texts that grow from event to event of a stream."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from hazgate.judging.speech import Role
from hazgate.serving.bodies.passages import Path

# Members that say which of several growing texts an event goes on with.
_IDENTITY = ("type", "index", "output_index", "content_index", "summary_index", "item_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """New characters of one growing text of a stream, and the key that names it.

    `nested` texts may be JSON inside a string.
    """

    key: Hashable
    text: str
    place: Path
    role: Role
    nested: bool


class _Grown:
    """The strings of one growing text; `n_taken` of them were handed out already."""

    __slots__ = ("joined", "n_taken", "nested", "place", "repeats", "role", "strings")

    def __init__(self, place: Path, role: Role, text: str, *, joined: bool, nested: bool) -> None:
        self.place = place
        self.role = role
        self.joined = joined
        self.nested = nested
        self.strings = [text]
        self.n_taken = 0
        # A string that every event repeats, as a name does, is no growing text.
        self.repeats = not (joined or nested)

    def take(self) -> str:
        """Return the text that came since the last call, and keep no more of it than needed."""
        strings = self.strings
        new = strings[self.n_taken :]
        self.repeats = self.repeats and len(set(strings)) == 1
        if self.repeats and self.n_taken:
            new = []
        elif self.repeats:
            new = strings[:1]
        self.strings = strings[:1]
        self.n_taken = 1
        return "".join(new)

    def whole(self) -> str:
        """Return all of the text, if nothing of it was taken."""
        strings = self.strings
        grows = self.joined or self.nested or len(set(strings)) > 1
        return "".join(strings) if grows else strings[0]


class GrowingTexts:
    """The texts of a stream: strings of several events that are one text are joined."""

    def __init__(self) -> None:
        """Start before the first event."""
        self._grown: dict[Hashable, _Grown] = {}
        self._touched: dict[Hashable, _Grown] = {}
        self._stream = ""

    def begin(self, event: object) -> None:
        """Take the members of the next event that say which texts it goes on with."""
        if isinstance(event, dict):
            self._stream = "|".join(str(event[name]) for name in _IDENTITY if name in event)

    def add(
        self, text: str, role: Role, path: Path, group: Path, *, joined: bool, nested: bool
    ) -> None:
        """Add a string of the event, found at `path` in what starts at `group`."""
        key = (self._stream, path, role)
        grown = self._grown.get(key)
        if grown is None:
            place = group if joined else path
            grown = self._grown[key] = _Grown(place, role, text, joined=joined, nested=nested)
        else:
            grown.strings.append(text)
        self._touched[key] = grown

    def take(self) -> list[Growth]:
        """Return what each text gained since the last call."""
        touched, self._touched = self._touched, {}
        return [
            Growth(key=key, text=text, place=grown.place, role=grown.role, nested=grown.nested)
            for key, grown in touched.items()
            if (text := grown.take())
        ]

    def whole(self) -> Iterator[Growth]:
        """Yield each text as a whole; nothing of them may have been taken."""
        for key, grown in self._grown.items():
            yield Growth(
                key=key,
                text=grown.whole(),
                place=grown.place,
                role=grown.role,
                nested=grown.nested,
            )
