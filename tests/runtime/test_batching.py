"""Texts are grouped within the budget and padded under a mask."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.text.batching import MAX_PADDING_SHARE, n_positions, pad, padding_share, plan_batches

LENGTHS = st.lists(st.integers(min_value=1, max_value=300), max_size=60)
BUDGET = st.integers(min_value=1, max_value=2048)
ROWS = st.lists(
    st.lists(st.integers(min_value=0, max_value=2**40), min_size=1, max_size=9), min_size=1
)


@given(lengths=LENGTHS, budget=BUDGET)
@settings(deadline=None)
def test_every_index_is_planned_once(lengths: list[int], budget: int) -> None:
    planned = [i for batch in plan_batches(lengths, budget, "padded") for i in batch]
    assert sorted(planned) == list(range(len(lengths)))


@given(lengths=LENGTHS, budget=BUDGET)
@settings(deadline=None)
def test_no_batch_exceeds_the_budget_unless_it_is_one_text(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget, "padded"):
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= budget or len(batch) == 1


@given(lengths=LENGTHS, budget=BUDGET)
@settings(deadline=None)
def test_lengths_ascend_through_the_plan(lengths: list[int], budget: int) -> None:
    planned = [lengths[i] for batch in plan_batches(lengths, budget, "padded") for i in batch]
    assert planned == sorted(lengths)


@given(lengths=LENGTHS, budget=BUDGET)
@settings(deadline=None)
def test_no_batch_is_padded_beyond_its_share(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget, "padded"):
        assert padding_share(lengths, [batch]) <= MAX_PADDING_SHARE + 1e-12


@given(lengths=LENGTHS, budget=BUDGET)
@settings(deadline=None)
def test_a_batch_ends_only_where_the_next_text_would_exceed_budget_or_padding(
    lengths: list[int], budget: int
) -> None:
    batches = plan_batches(lengths, budget, "padded")
    for batch, following in itertools.pairwise(batches):
        joined = [*batch, following[0]]
        too_many = len(joined) * lengths[following[0]] > budget
        assert too_many or padding_share(lengths, [joined]) > MAX_PADDING_SHARE


def test_the_padding_share_counts_positions_without_a_token() -> None:
    assert padding_share([2, 4, 8], [[0, 1], [2]]) == 2 / 16
    assert padding_share([], []) == 0


def test_texts_of_one_length_keep_their_order() -> None:
    assert plan_batches([5, 5, 5, 5], 10, "padded") == [[0, 1], [2, 3]]


@given(lengths=LENGTHS, budget=BUDGET)
@settings(deadline=None)
def test_texts_of_equal_length_share_a_run_without_padding(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget, "equal_length")
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len({lengths[i] for i in batch}) == 1
        assert len(batch) * lengths[batch[0]] <= budget or len(batch) == 1


def test_equal_lengths_fill_the_budget() -> None:
    assert plan_batches([5, 7, 5, 5], 10, "equal_length") == [[0, 2], [3], [1]]


@given(lengths=LENGTHS, budget=BUDGET)
@settings(deadline=None)
def test_a_variant_that_runs_alone_never_shares_a_run(lengths: list[int], budget: int) -> None:
    assert all(len(batch) == 1 for batch in plan_batches(lengths, budget, "alone"))


def test_nothing_needs_no_batch() -> None:
    assert plan_batches([], 1024, "padded") == []


@given(rows=ROWS, pad_token_id=st.integers(min_value=0, max_value=2**40))
@settings(deadline=None)
def test_padding_fills_the_right_end_and_the_mask_says_where(
    rows: list[list[int]], pad_token_id: int
) -> None:
    input_ids, attention_mask = pad(rows, pad_token_id)
    longest = max(len(row) for row in rows)
    assert input_ids.shape == attention_mask.shape == (len(rows), longest)
    assert input_ids.dtype == attention_mask.dtype == np.int64
    for row, ids, mask in zip(rows, input_ids.tolist(), attention_mask.tolist(), strict=True):
        n_pad = longest - len(row)
        assert ids == row + [pad_token_id] * n_pad
        assert mask == [1] * len(row) + [0] * n_pad


@given(lengths=st.lists(st.integers(1, 40), max_size=30), budget=st.integers(1, 120))
def test_packed_texts_of_any_lengths_share_a_run_as_long_as_their_tokens_fit(
    lengths: list[int], budget: int
) -> None:
    batches = plan_batches(lengths, budget, "packed")
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    totals = [sum(lengths[i] for i in batch) for batch in batches]
    for batch, total in zip(batches, totals, strict=True):
        assert total <= budget or len(batch) == 1
    # No two that follow one another would have fitted into one: the next is never shorter.
    for total, following in zip(totals, batches[1:], strict=False):
        assert total + lengths[following[0]] > budget


def test_a_packed_batch_computes_its_tokens_and_another_a_rectangle() -> None:
    assert n_positions(3, 10, 5, "packed") == 10
    assert n_positions(3, 10, 5, "padded") == 15
