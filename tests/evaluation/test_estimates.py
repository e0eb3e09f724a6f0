"""Intervals come from whole groups, alike at every run, and cover what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from hazgate_evaluation.estimates import Resampling, estimate, mirrored_estimate, ratio
from hazgate_evaluation.ranking import resampled_areas

# Few different scores, so that ties are common.
ROWS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 8)), min_size=2, max_size=30
)


def _groups(numbers: list[int]) -> NDArray[np.int64]:
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


@given(numbers=st.lists(st.integers(0, 9), min_size=1, max_size=40))
@settings(deadline=None)
def test_rows_of_a_group_are_drawn_together_and_as_many_groups_as_there_are(
    numbers: list[int],
) -> None:
    group = _groups(numbers)
    resampling = Resampling(group=group, n_resamples=20)
    for weights in resampling.group_weights():
        assert (weights.sum(axis=1) == resampling.n_groups).all()
    for weights in resampling.row_weights():
        for g in range(resampling.n_groups):
            inside = weights[:, group == g]
            assert (inside == inside[:, :1]).all()


@given(rows=ROWS)
@settings(deadline=None)
def test_totals_are_the_sums_that_the_row_weights_give(rows: list[tuple[bool, int, int]]) -> None:
    columns = np.array([[float(hit), float(value)] for hit, value, _ in rows])
    resampling = Resampling(group=_groups([g for _, _, g in rows]), n_resamples=10)
    weights = np.concatenate(list(resampling.row_weights()))
    np.testing.assert_allclose(resampling.totals(columns), weights @ columns)


def test_the_draws_do_not_depend_on_how_many_are_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resampling = Resampling(group=np.arange(7), n_resamples=50)
    at_once = np.concatenate(list(resampling.group_weights()))
    monkeypatch.setattr("hazgate_evaluation.estimates._CHUNK_WEIGHTS", 21)
    in_parts = list(resampling.group_weights())
    assert len(in_parts) > 10
    np.testing.assert_array_equal(np.concatenate(in_parts), at_once)


def test_a_shares_interval_is_about_the_normal_one() -> None:
    hits = np.arange(400) % 4 == 0
    totals = Resampling(group=np.arange(400)).totals(np.column_stack([hits, np.ones(400)]))
    found = estimate(0.25, ratio(totals[:, 0], totals[:, 1]))
    assert found is not None
    half_width = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert found.low == pytest.approx(0.25 - half_width, abs=0.01)
    assert found.high == pytest.approx(0.25 + half_width, abs=0.01)


def test_copies_in_a_group_make_no_interval_narrower() -> None:
    hits = np.arange(100) % 2 == 0

    def width(values: NDArray[np.bool_], group: NDArray[np.int64]) -> float:
        columns = np.column_stack([values, np.ones(len(values))])
        totals = Resampling(group=group).totals(columns)
        found = estimate(0.5, ratio(totals[:, 0], totals[:, 1]))
        assert found is not None
        return found.high - found.low

    once = width(hits, np.arange(100))
    assert width(np.repeat(hits, 9), np.repeat(np.arange(100), 9)) == pytest.approx(once)
    assert width(np.repeat(hits, 9), np.arange(900)) < once / 2


def test_what_is_not_defined_has_no_interval() -> None:
    assert estimate(float("nan"), np.array([0.5])) is None
    assert estimate(0.5, np.array([np.nan, np.nan])) is None
    assert mirrored_estimate(float("nan"), np.array([0.5])) is None
    some = estimate(0.5, np.array([np.nan, 0.25, 0.25]))
    assert some is not None
    assert (some.low, some.high) == (0.25, 0.25)


def test_a_mirrored_interval_takes_the_bias_of_resampling_off_and_stays_in_bounds() -> None:
    found = mirrored_estimate(0.02, np.full(100, 0.03))
    assert found is not None
    assert found.low == found.high == pytest.approx(0.01)
    found = mirrored_estimate(0.02, np.full(100, 0.5))
    assert found is not None
    assert found.low == 0


@given(rows=ROWS)
@settings(deadline=None, max_examples=50)
def test_areas_of_a_resample_are_scikit_learns_under_its_weights(
    rows: list[tuple[bool, int, int]],
) -> None:
    positive = np.array([hit for hit, _, _ in rows])
    scores = np.array([value / 7 for _, value, _ in rows])
    resampling = Resampling(group=_groups([g for _, _, g in rows]), n_resamples=5)
    areas = resampled_areas(positive, scores, resampling)
    weights = np.concatenate(list(resampling.row_weights()))
    for i, weight in enumerate(weights):
        drawn = weight > 0
        if not positive[drawn].any() or positive[drawn].all():
            assert np.isnan(areas.roc_auc[i])
            continue
        kept = positive[drawn], scores[drawn]
        assert areas.average_precision[i] == pytest.approx(
            average_precision_score(*kept, sample_weight=weight[drawn])
        )
        assert areas.roc_auc[i] == pytest.approx(roc_auc_score(*kept, sample_weight=weight[drawn]))
