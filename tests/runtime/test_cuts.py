"""Windows over a text's tokens, and the window that a token is read in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.text.cuts import cut, join


def _marked(windows: tuple[range, ...]) -> list[np.ndarray]:
    """Return rows that say from which window they are."""
    return [np.full((len(own), 1), i, dtype=np.float32) for i, own in enumerate(windows)]


def test_a_token_takes_the_window_in_which_it_stands_farther_from_a_cut() -> None:
    windows = cut(14, 8, 4)
    assert windows == (range(8), range(4, 12), range(8, 14))
    # Tokens 4 and 5 are 3 and 2 from the first window's end, 0 and 1 from the second's beginning.
    joined = join(windows, _marked(windows))[:, 0]
    assert joined.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_of_two_equal_distances_the_earlier_window_counts() -> None:
    windows = cut(9, 6, 3)
    assert windows == (range(6), range(3, 9))
    # Token 4 is one token from both cuts.
    assert join(windows, _marked(windows))[:, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_the_ends_of_the_text_are_no_cuts() -> None:
    windows = cut(5, 4, 2)
    assert windows == (range(4), range(2, 5))
    # The last token would be at an edge of the second window, were that not the text's end.
    assert join(windows, _marked(windows))[:, 0].tolist() == [0, 0, 0, 1, 1]


def test_the_first_window_alone_is_read_to_its_end() -> None:
    windows = cut(9, 6, 3)[:1]
    assert join(windows, _marked(windows)).shape == (6, 1)


@pytest.mark.parametrize("n_total", [0, 1, 4])
def test_a_text_of_one_window_is_not_cut(n_total: int) -> None:
    assert cut(n_total, 4, 2) == (range(n_total),)


@given(st.data())
def test_joined_rows_are_those_of_the_whole_text_if_no_row_depends_on_its_window(
    data: st.DataObject,
) -> None:
    n_tokens = data.draw(st.integers(1, 12))
    overlap = data.draw(st.integers(0, n_tokens - 1))
    n_total = data.draw(st.integers(0, 60))
    whole = np.arange(2 * n_total, dtype=np.float32).reshape(n_total, 2)
    windows = cut(n_total, n_tokens, overlap)
    assert sorted({i for own in windows for i in own}) == list(range(n_total))
    assert all(len(own) <= n_tokens for own in windows)
    np.testing.assert_array_equal(
        join(windows, [whole[own.start : own.stop] for own in windows]), whole
    )


@given(st.data())
def test_no_window_has_a_token_farther_from_its_cuts_than_the_chosen_one(
    data: st.DataObject,
) -> None:
    n_tokens = data.draw(st.integers(2, 9))
    overlap = data.draw(st.integers(1, n_tokens - 1))
    n_total = data.draw(st.integers(1, 40))
    windows = cut(n_total, n_tokens, overlap)
    chosen = join(windows, _marked(windows))[:, 0].astype(int).tolist()

    def distance(i: int, own: range) -> int:
        before = i - own.start if own.start else n_total
        after = own.stop - 1 - i if own.stop < n_total else n_total
        return min(before, after)

    for i, number in enumerate(chosen):
        ranked = [(-distance(i, own), k) for k, own in enumerate(windows) if i in own]
        assert number == min(ranked)[1]
