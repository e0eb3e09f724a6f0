"""Bounds on a share hold exactly what they promise."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.judging.binomial import lower_bound, tail, upper_bound


@st.composite
def _counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 400))
    return draw(st.integers(0, n)), n


@given(_counts(), st.floats(0.001, 0.999))
def test_the_tail_is_the_sum_of_the_binomials_terms(counts: tuple[int, int], share: float) -> None:
    k, n = counts
    expected = math.fsum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1))
    assert tail(k, n, share) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(_counts(), st.sampled_from([0.9, 0.95, 0.99]))
def test_at_the_upper_bound_so_few_events_have_the_probability_that_is_left(
    counts: tuple[int, int], confidence: float
) -> None:
    k, n = counts
    bound = upper_bound(k, n, confidence)
    assert bound >= k / n
    if k < n:
        assert tail(k, n, bound) == pytest.approx(1 - confidence, abs=1e-9)


@given(_counts(), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_lower_bound_is_the_upper_bound_of_the_other_events(
    counts: tuple[int, int], confidence: float
) -> None:
    k, n = counts
    assert lower_bound(k, n, confidence) == pytest.approx(
        1 - upper_bound(n - k, n, confidence), abs=1e-9
    )


def test_without_an_event_598_draws_prove_half_a_percent_and_597_do_not() -> None:
    assert upper_bound(0, 598, 0.95) <= 0.005 < upper_bound(0, 597, 0.95)


def test_nothing_is_known_of_a_share_without_draws() -> None:
    assert (lower_bound(0, 0, 0.95), upper_bound(0, 0, 0.95)) == (0, 1)
