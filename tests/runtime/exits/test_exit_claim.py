"""Limits of early exits are proven as Learn then Test says, and nothing looser is accepted."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hazgate.engine.exit_claim import (
    ClaimTerms,
    JudgedWindows,
    evidence_of,
    is_held_out,
    is_proven,
    leaving,
    limits_to_try,
    loosest_proven,
    missing_flagged,
)
from hazgate.judging.scores import log_odds

TERMS = ClaimTerms(max_missed_share=0.005, confidence=0.95, thresholds=(0.3, 0.5))


def _draw(random: np.random.Generator, n: int, n_exits: int = 1) -> JudgedWindows:
    """Draw windows: half are flagged, with log-odds of N(0, 1), the others are far below."""
    flagged = np.arange(n) % 2 == 0
    scores = random.normal(size=(n, n_exits)) - np.where(flagged, 0.0, 6.0)[:, None]
    return JudgedWindows(log_odds=scores, unsafe=np.where(flagged, 0.9, 0.01))


def _below(limit: float) -> float:
    """Return the share of N(0, 1) under a limit: the flagged windows that leave."""
    return 0.5 * math.erfc(-limit / math.sqrt(2))


def test_in_a_thousand_draws_the_true_share_missed_is_above_the_claim_in_at_most_five_percent() -> (
    None
):
    random = np.random.default_rng(11)
    missed, n_proven = [], 0
    for _ in range(1000):
        tried = limits_to_try(_draw(random, 1000), TERMS.thresholds)
        found = loosest_proven(_draw(random, 2000), tried, TERMS)
        if found is not None:
            n_proven += 1
            missed.append(_below(found[0]))
    # Not by never accepting anything: nearly every draw accepts limits that let half leave.
    assert n_proven > 950
    assert np.median(missed) > 0.0002
    # Three standard deviations of 1,000 draws above 5 %.
    assert np.mean(np.array(missed) > TERMS.max_missed_share) <= 0.05 + 3 * math.sqrt(
        0.05 * 0.95 / 1000
    )


def test_without_the_test_on_other_windows_the_claim_would_not_hold() -> None:
    """A mutation: limits that miss half a percent of the windows they were chosen on."""
    random = np.random.default_rng(12)
    missed = []
    for _ in range(300):
        flagged = np.sort(_draw(random, 2000).log_odds[::2, 0])
        missed.append(_below(flagged[5]))
    assert np.mean(np.array(missed) > TERMS.max_missed_share) > 0.3


def test_the_fewest_flagged_windows_are_those_of_which_none_missed_is_a_proof() -> None:
    assert TERMS.least_flagged == 598
    none_left = np.zeros(598, dtype=np.bool_)
    unsafe = np.full(598, 0.9)
    assert is_proven(unsafe, none_left, TERMS)
    assert not is_proven(unsafe[1:], none_left[1:], TERMS)
    assert missing_flagged(unsafe, TERMS) == {}
    assert missing_flagged(np.r_[unsafe[:-3], 0.4], TERMS) == {0.3: 2, 0.5: 3}


def test_one_window_that_left_and_should_not_needs_more_to_prove_it() -> None:
    unsafe = np.full(947, 0.9)
    left = np.arange(947) == 5
    assert is_proven(unsafe, left, TERMS)
    assert not is_proven(unsafe[:-1], left[:-1], TERMS)
    (low, high) = evidence_of(unsafe, left, TERMS)
    assert (low.n_flagged, low.n_missed, low.n_texts) == (947, 1, 947)
    assert 0.0049 < high.upper_bound <= 0.005


def test_a_claim_must_hold_at_every_threshold_by_itself() -> None:
    unsafe = np.r_[np.full(2000, 0.4), np.full(600, 0.9)]
    left = np.zeros(2600, dtype=np.bool_)
    left[2000] = True
    # One of 2,600 is few; one of 600 is not.
    assert not is_proven(unsafe, left, TERMS)


def test_probes_that_always_let_go_prove_nothing() -> None:
    held_out = _draw(np.random.default_rng(3), 4000)
    assert loosest_proven(held_out, [np.array([np.inf])], TERMS) is None


def test_the_search_ends_at_the_first_failure_although_a_later_one_would_pass() -> None:
    held_out = _draw(np.random.default_rng(3), 4000)
    strict, loose = np.array([-9.0]), np.array([3.0])
    assert loosest_proven(held_out, [strict, loose, strict + 1], TERMS) is strict


@given(seed=st.integers(0, 10**6), n_exits=st.integers(1, 3))
def test_limits_to_try_grow_and_never_reach_the_lowest_threshold(seed: int, n_exits: int) -> None:
    fitted = _draw(np.random.default_rng(seed), 60, n_exits)
    tried = limits_to_try(fitted, TERMS.thresholds)
    assert all((b >= a).all() and (b > a).any() for a, b in itertools.pairwise(tried))
    assert all((limits < log_odds(0.3)).all() for limits in tried)
    assert all(np.array_equal(limits, limits.astype(np.float32)) for limits in tried)
    strictest = leaving(fitted.log_odds, tried[0])
    assert not (strictest & (fitted.unsafe >= 0.3)).any()


def test_without_a_flagged_window_there_is_nothing_to_try() -> None:
    fitted = JudgedWindows(log_odds=np.zeros((4, 2)), unsafe=np.full(4, 0.01))
    assert limits_to_try(fitted, TERMS.thresholds) == []


def test_six_of_ten_groups_are_held_out_always_the_same() -> None:
    assert 560 < sum(is_held_out(f"group-{i}") for i in range(1000)) < 640
    assert [is_held_out(f"group-{i}") for i in range(6)] == [
        False,
        False,
        False,
        True,
        False,
        False,
    ]
