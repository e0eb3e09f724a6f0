"""Markers stand in place of regions, exactly; regions and markers that overlap become one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.serving.markers import MARKER, Region, is_marked, marker_of, with_markers

KNOWN = {MARKER, "[NAME]", "[EMAIL]"}


@pytest.mark.parametrize(
    ("text", "regions", "expected"),
    [
        ("mail ada now", [(5, 8, "[NAME]")], "mail [NAME] now"),
        ("ada bob", [(4, 7, "[NAME]"), (0, 3, "[EMAIL]")], "[EMAIL] [NAME]"),
        # Neighbours stay two; those that overlap become one.
        ("adabob", [(0, 3, "[NAME]"), (3, 6, "[NAME]")], "[NAME][NAME]"),
        ("adabob!", [(0, 4, "[NAME]"), (3, 6, "[EMAIL]")], "[NAME][EMAIL]!"),
        ("adabob!", [(0, 6, "[NAME]"), (2, 4, "[NAME]")], "[NAME]!"),
        ("one ada two", [(0, 7, MARKER), (4, 7, "[NAME]")], f"{MARKER} two"),
        ("one ada two", [(4, 9, MARKER), (2, 5, "[NAME]")], f"on{MARKER}wo"),
        # A marker is not masked again, and none is cut.
        ("hi [NAME]", [(3, 9, "[NAME]"), (4, 8, "[EMAIL]")], "hi [NAME]"),
        ("hi [NAME] bob", [(4, 13, "[NAME]")], "hi [NAME]"),
        ("hi [NAME] bob", [(0, 5, MARKER)], f"{MARKER} bob"),
        # Code points: an emoji of several, a combining mark, right to left, line ends.
        ("\U0001f469\u200d\U0001f4bb ada", [(4, 7, "[NAME]")], "\U0001f469\u200d\U0001f4bb [NAME]"),
        ("e\u0301 ada e\u0301", [(3, 6, "[NAME]")], "e\u0301 [NAME] e\u0301"),
        ("\u05d3\u05e0\u05d4 ada", [(0, 3, "[NAME]")], "[NAME] ada"),
        ("a\r\nada\r\nb", [(3, 6, "[NAME]")], "a\r\n[NAME]\r\nb"),
    ],
)
def test_regions_are_replaced(
    text: str, regions: list[tuple[int, int, str]], expected: str
) -> None:
    assert with_markers(text, [Region(*one) for one in regions], KNOWN) == expected


@given(
    st.text(),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from(["A", "B"]))),
)
def test_every_character_of_a_region_goes_and_no_other_one(
    text: str, drawn: list[tuple[int, int, str]]
) -> None:
    regions = [
        Region(start, min(start + n, len(text)), marker_of(label))
        for start, n, label in drawn
        if start < len(text)
    ]
    # Of other characters than any marker.
    text = text.translate({ord(c): "x" for c in "[AB]"})
    masked = with_markers(text, regions, {"[A]", "[B]"})
    gone = {i for region in regions for i in range(region.start, region.end)}
    kept = "".join(character for i, character in enumerate(text) if i not in gone)
    assert masked.replace("[A]", "").replace("[B]", "") == kept
    assert not any(is_marked(text, [one], {"[A]", "[B]"}) for one in regions)


def test_what_stands_in_markers_alone_is_marked() -> None:
    assert is_marked("hi [NAME]", [Region(3, 9, "[EMAIL]")], KNOWN)
    assert not is_marked("hi [NAME]", [Region(2, 9, "[EMAIL]")], KNOWN)
    assert not is_marked("hi [AGE]", [Region(3, 8, "[AGE]")], KNOWN)
    assert not is_marked("hi [NAME]", [Region(3, 9, MARKER)], KNOWN)
