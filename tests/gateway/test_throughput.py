"""What is expected of an engine lies between what it did, and forgets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.serving.queue.throughput import Pace, Ratio

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


def _pace() -> Pace:
    """Of an engine that takes a millisecond a token."""
    pace = Pace()
    pace.ran(1.0, n_tokens=1000, n_requests=10)
    return pace


@given(n_tokens=st.integers(0, 10_000), timeout_s=st.floats(0, 10))
def test_behind_nothing_nothing_is_refused(n_tokens: int, timeout_s: float) -> None:
    pace = _pace()
    assert not pace.refusal(5.0, tokens_ahead=0, n_tokens=n_tokens, timeout_s=timeout_s)
    pace.begin(5.0, 100)
    pace.end()
    assert not pace.refusal(5.0, tokens_ahead=0, n_tokens=n_tokens, timeout_s=timeout_s)


@given(
    running=st.integers(1, 3000),
    tokens_ahead=st.integers(0, 3000),
    n_tokens=st.integers(0, 3000),
    timeout_s=st.floats(0.01, 10),
    passed_s=st.floats(0, 3),
)
def test_what_is_let_in_ends_in_time_by_what_is_known(
    running: int, tokens_ahead: int, n_tokens: int, timeout_s: float, passed_s: float
) -> None:
    pace = _pace()
    pace.begin(0.0, running)
    refusal = pace.refusal(
        passed_s, tokens_ahead=tokens_ahead, n_tokens=n_tokens, timeout_s=timeout_s
    )
    ahead_s = max(0.0, running / 1000 - passed_s) + tokens_ahead / 1000
    if refusal is None and ahead_s > 0:
        assert ahead_s + n_tokens / 1000 <= timeout_s + 1e-9
    elif refusal is not None:
        assert 2 * ahead_s + n_tokens / 1000 > timeout_s - 1e-9


def test_who_waits_for_ever_is_never_refused() -> None:
    pace = _pace()
    pace.begin(0.0, 10**6)
    assert pace.refusal(0.0, tokens_ahead=10**6, n_tokens=9, timeout_s=float("inf")) is None


def test_a_batch_that_was_all_too_late_halves_what_is_expected() -> None:
    pace = _pace()
    pace.begin(0.0, 0)
    assert pace.seconds_per_token == pytest.approx(0.0005)
    assert pace.tokens_per_request == 100
