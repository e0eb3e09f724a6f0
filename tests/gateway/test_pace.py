"""What is expected of an engine lies between what it did, and forgets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.serving.pace import Ratio

PIECES = st.lists(st.tuples(st.floats(0.001, 10), st.integers(1, 10_000)), min_size=1, max_size=30)


def _of(pieces: list[tuple[float, int]]) -> Ratio:
    ratio = Ratio()
    for much, many in pieces:
        ratio.add(much, many)
    return ratio


def test_nothing_is_expected_of_what_did_nothing_yet() -> None:
    assert Ratio().value == 0


@given(pieces=PIECES)
def test_it_lies_between_the_least_and_the_greatest_of_what_was_added(
    pieces: list[tuple[float, int]],
) -> None:
    ratios = [much / many for much, many in pieces]
    assert min(ratios) * (1 - 1e-9) <= _of(pieces).value <= max(ratios) * (1 + 1e-9)


@given(pieces=PIECES)
def test_what_was_long_ago_is_forgotten(pieces: list[tuple[float, int]]) -> None:
    ratio = _of(pieces)
    for _ in range(400):
        ratio.add(3.0, 2)
    assert ratio.value == pytest.approx(1.5)


def test_a_short_run_says_little_of_a_token() -> None:
    # A millisecond a run and one a hundred tokens.
    ratio = _of([(0.00101, 1), (0.011, 1000)])
    assert ratio.value < 0.00002


def test_doubt_halves_it() -> None:
    ratio = _of([(4.0, 2)])
    ratio.halve()
    assert ratio.value == 1.0
