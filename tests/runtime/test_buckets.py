"""Shapes of a compiling provider: the plan pads least, and every row finds its bucket."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import InputError
from hazgate.engine.buckets import (
    TILE_TOKENS,
    Bucket,
    choose_bucket,
    default_buckets,
    parse_bucket,
    plan_buckets,
)

BUCKETS = st.lists(st.builds(Bucket, st.integers(1, 16), st.integers(1, 64)), min_size=1)


def _positions(lengths: list[int], tokens: tuple[int, ...]) -> int:
    return sum(min(n for n in tokens if n >= length) for length in lengths)


@given(st.lists(st.integers(1, 80), min_size=1, max_size=12), st.integers(1, 4))
def test_no_other_lengths_of_the_same_number_pad_less(lengths: list[int], count: int) -> None:
    longest = 72
    clipped = [min(length, longest) for length in lengths]
    plan = plan_buckets(lengths, count, longest)
    assert len(plan.tokens) <= count
    assert plan.tokens[-1] == longest
    found = _positions(clipped, plan.tokens)
    assert plan.padding_share == pytest.approx(1 - sum(clipped) / found)
    tiles = range(TILE_TOKENS, longest, TILE_TOKENS)
    best = min(
        _positions(clipped, (*others, longest))
        for n in range(count)
        for others in combinations(tiles, n)
    )
    assert found == best


@pytest.mark.parametrize(("lengths", "count"), [([], 1), ([0], 1), ([5], 0)])
def test_a_traffic_that_cannot_be_planned_for_is_an_error(lengths: list[int], count: int) -> None:
    with pytest.raises(InputError):
        plan_buckets(lengths, count, 64)


@given(BUCKETS, st.integers(1, 20), st.integers(1, 70))
def test_a_row_gets_the_narrowest_bucket_that_holds_it(
    buckets: list[Bucket], n_rows: int, n_tokens: int
) -> None:
    chosen = choose_bucket(buckets, n_rows, n_tokens)
    fitting = [bucket for bucket in buckets if bucket.tokens >= n_tokens]
    if not fitting:
        assert chosen is None
        return
    assert chosen is not None
    assert chosen.tokens == min(bucket.tokens for bucket in fitting)
    same = [bucket.batch for bucket in buckets if bucket.tokens == chosen.tokens]
    holding = [batch for batch in same if batch >= n_rows]
    assert chosen.batch == (min(holding) if holding else max(same))


def test_default_buckets_reach_the_window_and_no_further() -> None:
    assert [str(bucket) for bucket in default_buckets(100)] == [
        *("1x32", "1x64", "1x100"),
        *("8x32", "8x64", "8x100"),
    ]


@pytest.mark.parametrize("text", ["", "8", "x", "0x8", "8x0", "8x-1", "axb", "8x8x8"])
def test_a_text_that_is_no_bucket_is_an_error(text: str) -> None:
    with pytest.raises(InputError):
        parse_bucket(text)
    assert parse_bucket("8x512") == Bucket(8, 512)
