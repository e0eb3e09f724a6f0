"""Markers in place of characters of a text. Pure."""

import re
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
    placed = _markers_in(text, known)
    parts: list[str] = []
    at = 0
    for region in _merged(_around(region, placed) for region in regions if _counts(region, placed)):
        parts += [text[at : region.start], region.marker]
        at = region.end
    return "".join([*parts, text[at:]])


def is_marked(text: str, regions: Iterable[Region], known: Collection[str]) -> bool:
    """Return True if nothing is left to replace: all regions lie within known markers."""
    placed = _markers_in(text, known)
    return not any(_counts(region, placed) for region in regions)


def occurrences(text: str, part: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each occurrence of a part that is not empty, none in another."""
    start = text.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + len(part))


def _markers_in(text: str, known: Collection[str]) -> list[tuple[int, int]]:
    longest_first = sorted(known, key=len, reverse=True)
    return [found.span() for found in re.finditer("|".join(map(re.escape, longest_first)), text)]


def _counts(region: Region, placed: Sequence[tuple[int, int]]) -> bool:
    """Return whether a region has anything to replace but a marker that says as much."""
    if region.marker == MARKER:
        return True
    return not any(start <= region.start and region.end <= end for start, end in placed)


def _around(region: Region, placed: Sequence[tuple[int, int]]) -> Region:
    """Return a region with the whole of each marker of which it has a part."""
    cut = [(start, end) for start, end in placed if start < region.end and region.start < end]
    return Region(
        min([region.start, *(start for start, _ in cut)]),
        max([region.end, *(end for _, end in cut)]),
        region.marker,
    )


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
