"""Edits of a text, and the way back from the edited text to its characters. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from re import Match, Pattern


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A replacement of the characters from `start` to before `end` of a text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OffsetMap:
    """The way from places in an edited text back to the text before.

    `ends[i]` is the end of edit `i` in the edited text and `starts[i]` its beginning; `sources`
    has the characters that it replaced. Between edits, characters are the same.
    """

    starts: Sequence[int]
    ends: Sequence[int]
    sources: Sequence[tuple[int, int]]

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Return the characters before the edits that `start` to before `end` came from.

        A place within an edit stands for all that the edit replaced, unless both are equally
        long: then each character stands for one. An edit that left nothing belongs to the
        characters around it.
        """
        return self._place(start, at_end=False), self._place(end, at_end=True)

    def touches(self, start: int, end: int) -> bool:
        """Return True if an edit stands in or next to the characters from `start` to `end`."""
        i = bisect_right(self.ends, start - 1)
        return i < len(self.starts) and self.starts[i] <= end

    def _place(self, at: int, *, at_end: bool) -> int:
        # The last edit that begins before a place, or at one that begins a span.
        i = bisect_right(self.starts, at - 1 if at_end else at) - 1
        if i < 0:
            return at
        first, last = self.sources[i]
        start, end = self.starts[i], self.ends[i]
        if at < end or (at_end and at == end) or (not at_end and at == start == end):
            if last - first == end - start:
                return first + (at - start)
            return last if at_end else first
        return last + (at - end)


def apply(text: str, edits: Sequence[Edit]) -> tuple[str, OffsetMap]:
    """Return the edited text, and the way back.

    Args:
        text: any string.
        edits: in the order of the text; none reaches into another.
    """
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = length = 0
    for edit in edits:
        parts.append(text[at : edit.start])
        parts.append(edit.text)
        length += edit.start - at
        starts.append(length)
        length += len(edit.text)
        ends.append(length)
        at = edit.end
    parts.append(text[at:])
    sources = [(edit.start, edit.end) for edit in edits]
    return "".join(parts), OffsetMap(starts=starts, ends=ends, sources=sources)


def replaced(
    text: str, pattern: Pattern[str], replacement: Callable[[Match[str]], str | None]
) -> list[Edit]:
    """Return the edits that replace what a pattern finds.

    Args:
        text: any string.
        pattern: finds the places.
        replacement: returns the new characters of a match; None leaves it alone.
    """
    edits = []
    for match in pattern.finditer(text):
        new = replacement(match)
        if new is not None and new != match[0]:
            edits.append(Edit(start=match.start(), end=match.end(), text=new))
    return edits
