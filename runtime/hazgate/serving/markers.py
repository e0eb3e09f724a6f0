"""Markers in place of characters of a text. Pure."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

# The marker of a window that a hazard's rule masks.
MARKER = "[removed by the safety gate]"


class Region(NamedTuple):
    """Characters of a text from `start` to before `end`, and the marker to put there."""

    start: int
    end: int
    marker: str


def marker_of(label: str) -> str:
    """Return the marker of spans of a type."""
    return f"[{label}]"


def with_markers(text: str, regions: Iterable[Region], known: Collection[str]) -> str:
    """Return a text with markers in place of its regions.

    Regions that overlap are replaced together, by the marker of a window if one is among them, else
    by the marker of each type, once. A region that takes a part of a marker takes all of it.

    Args:
        text: the text.
        regions: in any order; those of a type that lie within a known marker are left out.
        known: markers that may stand in the text.
    """
    placed = _Markers(text, known)
    parts: list[str] = []
    at = 0
    for region in _merged(placed.around(one) for one in regions if not placed.hold(one)):
        parts += [text[at : region.start], region.marker]
        at = region.end
    return "".join([*parts, text[at:]])


def is_marked(text: str, regions: Iterable[Region], known: Collection[str]) -> bool:
    """Return True if nothing is left to replace: all regions lie within known markers."""
    placed = _Markers(text, known)
    return all(placed.hold(region) for region in regions)


def occurrences(text: str, part: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each occurrence of a part that is not empty, none in another."""
    start = text.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + len(part))


class _Markers:
    """The known markers of a text, in its order."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        longest_first = sorted(known, key=len, reverse=True)
        found = re.finditer("|".join(map(re.escape, longest_first)), text) if known else ()
        spans = [one.span() for one in found]
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]

    def hold(self, region: Region) -> bool:
        """Return whether a region is nothing but a part of a marker, and not a window."""
        at = bisect_right(self._starts, region.start) - 1
        return region.marker != MARKER and at >= 0 and region.end <= self._ends[at]

    def around(self, region: Region) -> Region:
        """Return a region with the whole of each marker of which it has a part."""
        first, last = bisect_right(self._ends, region.start), bisect_left(self._starts, region.end)
        if first >= last:
            return region
        start, end = min(region.start, self._starts[first]), max(region.end, self._ends[last - 1])
        return Region(start, end, region.marker)


def _merged(regions: Iterable[Region]) -> Iterator[Region]:
    """Yield regions in order, those that overlap as one."""
    together: list[Region] = []
    end = 0
    for region in sorted(regions):
        if together and region.start >= end:
            yield _as_one(together, end)
            together, end = [], 0
        together.append(region)
        end = max(end, region.end)
    if together:
        yield _as_one(together, end)


def _as_one(regions: Sequence[Region], end: int) -> Region:
    markers = dict.fromkeys(region.marker for region in regions)
    return Region(regions[0].start, end, MARKER if MARKER in markers else "".join(markers))
