"""The estimate of what exits miss is unbiased, and its bound holds at every look."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.engine.exit_audit import OpenExits
from hazgate.judging.missed import MissedCounts
from tests.support.exits import exits_data, exits_of

EPSILON, CONFIDENCE = 0.005, 0.95


def _window(random_: random.Random, missed_share: float) -> list[float]:
    """Return the row of a window read whole: flagged by half, and of these some would leave."""
    flagged = random_.random() < 0.5
    leaves = random_.random() < (missed_share if flagged else 0.8)
    return [0.0, 2.0 if flagged else -2.0, -1.0 if leaves else 0.0]


def _open(audit_share: float, seed: int) -> OpenExits:
    return OpenExits(
        exits=exits_of(exits_data()),
        source="exits.json",
        positive=1,
        audit_share=audit_share,
        _random=random.Random(seed),
    )


def _serve(exits: OpenExits, n: int, missed_share: float, seed: int) -> None:
    random_ = random.Random(seed)
    rows = np.array([_window(random_, missed_share) for _ in range(n)], dtype=np.float32)
    for part in np.array_split(rows, max(1, n // 500)):
        draw = exits.draw([0.0] * len(part))
        # Those that leave have the exit they would have.
        seen = part.copy()
        seen[draw.may_leave, -1] *= -1
        exits.count(draw, seen)


def test_over_many_draws_the_estimate_is_the_true_share() -> None:
    estimates = []
    for seed in range(40):
        exits = _open(0.2, seed)
        _serve(exits, 4000, 0.1, 1000 + seed)
        share = exits.facts.counts.share
        assert share is not None
        estimates.append(share)
    # The mean of 40 estimates of a share of 0.1 from about 400 flagged windows each.
    assert np.mean(estimates) == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / 400 / 40) ** 0.5)


def test_windows_that_left_or_had_to_be_read_whole_count_for_nothing() -> None:
    exits = _open(0.0, 1)
    _serve(exits, 100, 1.0, 2)
    assert exits.facts.counts == MissedCounts()
    exits = _open(1.0, 1)
    draw = exits.draw([None, 0.0])
    assert draw.may_leave.tolist() == [False, False]
    assert draw.audited.tolist() == [False, True]
    exits.count(draw, np.array([[0, 2, -1], [0, 2, -1]], dtype=np.float32))
    assert exits.facts.counts == MissedCounts(n_audited=1, n_flagged=1, n_missed=1)


def test_a_window_is_flagged_from_its_own_threshold_on() -> None:
    exits = _open(1.0, 1)
    draw = exits.draw([1.0, 3.0])
    exits.count(draw, np.array([[0, 2, -1], [0, 2, -1]], dtype=np.float32))
    assert exits.facts.counts == MissedCounts(n_audited=2, n_flagged=1, n_missed=1)


def test_exits_that_keep_their_claim_hardly_ever_turn_off_though_looked_at_often() -> None:
    # At the very limit of the claim, the chance to be ever turned off is at most 5 %.
    n_off = 0
    for seed in range(200):
        random_ = random.Random(seed)
        counts = MissedCounts()
        for _ in range(3000):
            missed = random_.random() < EPSILON
            counts = counts.plus(MissedCounts(n_audited=1, n_flagged=1, n_missed=int(missed)))
            if missed and counts.exceeds(EPSILON, CONFIDENCE):
                n_off += 1
                break
    assert n_off <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


@pytest.mark.parametrize(("missed_share", "at_most"), [(0.05, 400), (0.02, 3000)])
def test_exits_that_break_their_claim_turn_off(missed_share: float, at_most: int) -> None:
    n_off = 0
    for seed in range(20):
        random_ = random.Random(seed)
        counts = MissedCounts()
        for _ in range(at_most):
            missed = random_.random() < missed_share
            counts = counts.plus(MissedCounts(n_audited=1, n_flagged=1, n_missed=int(missed)))
            if missed and counts.exceeds(EPSILON, CONFIDENCE):
                n_off += 1
                break
    assert n_off >= 19


@given(st.integers(0, 200), st.integers(1, 5000))
def test_the_bounds_surround_the_estimate_and_agree_with_the_end_of_exits(
    n_missed: int, n_flagged: int
) -> None:
    n_missed = min(n_missed, n_flagged)
    counts = MissedCounts(n_audited=n_flagged, n_flagged=n_flagged, n_missed=n_missed)
    lower = counts.lower_bound(CONFIDENCE, EPSILON)
    share = counts.share
    assert share is not None
    assert 0 <= lower <= share <= counts.upper_bound(CONFIDENCE)
    if abs(lower - EPSILON) > 1e-9:
        assert counts.exceeds(EPSILON, CONFIDENCE) == (lower > EPSILON)


def test_before_anything_was_flagged_nothing_is_known() -> None:
    counts = MissedCounts(n_audited=5)
    assert counts.share is None
    assert (counts.lower_bound(CONFIDENCE, EPSILON), counts.upper_bound(CONFIDENCE)) == (0.0, 1.0)
    assert not counts.exceeds(EPSILON, CONFIDENCE)
