"""Figures on values that were counted by hand, and scikit-learn's on any others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, precision_score, recall_score

from hazgate_evaluation.cascade import cascade_right, share_right
from hazgate_evaluation.estimates import Estimate, Resampling
from hazgate_evaluation.level1 import flag_figures, level1_figures
from hazgate_evaluation.level2 import level2_figures
from hazgate_evaluation.reliability import (
    bins_of,
    calibration_error,
    expected_calibration_error,
    reliability,
)
from hazgate_evaluation.slices import MIN_ROWS, bucket_name, slices_of
from tests.support.labelled import row, scores, truth

LABELS = ("a", "b", "c")


def _each(n_rows: int, n_resamples: int = 50) -> Resampling:
    return Resampling(group=np.arange(n_rows), n_resamples=n_resamples)


def _value(figure: Estimate | None) -> float:
    assert figure is not None
    assert figure.low <= figure.value <= figure.high
    return figure.value


# Level 1


def test_flags_are_counted_as_by_hand() -> None:
    unsafe = np.array([True, True, True, False, False, False, False, False])
    flagged = np.array([True, True, False, True, False, False, False, False])
    figures = flag_figures(unsafe, flagged, _each(8))
    assert _value(figures.recall) == pytest.approx(2 / 3)
    assert _value(figures.false_positive_rate) == pytest.approx(1 / 5)
    assert _value(figures.precision) == pytest.approx(2 / 3)
    assert _value(figures.f1) == pytest.approx(2 / 3)


def test_what_no_row_bears_on_is_not_defined() -> None:
    none = np.zeros(3, dtype=np.bool_)
    figures = flag_figures(none, none, _each(3))
    assert figures.recall is None
    assert figures.precision is None
    assert figures.false_positive_rate == Estimate(value=0, low=0, high=0)


@given(rows=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
@settings(deadline=None)
def test_precision_and_recall_are_scikit_learns(rows: list[tuple[bool, bool]]) -> None:
    unsafe, flagged = np.array(rows).T
    figures = flag_figures(unsafe, flagged, _each(len(rows), 5))
    if figures.recall:
        assert figures.recall.value == pytest.approx(recall_score(unsafe, flagged))
    if figures.precision:
        assert figures.precision.value == pytest.approx(precision_score(unsafe, flagged))
    assert (figures.recall is None) <= (not unsafe.any())


def test_a_score_at_the_threshold_is_flagged() -> None:
    unsafe = np.array([True, True, False, False])
    figures = level1_figures(unsafe, np.array([0.9, 0.5, 0.4, 0.1]), 0.5, _each(4))
    assert _value(figures.flags.recall) == 1
    assert _value(figures.auprc) == 1
    assert _value(figures.roc_auc) == 1
    assert (figures.n_rows, figures.n_unsafe, figures.threshold) == (4, 2, 0.5)


def test_areas_of_a_known_order() -> None:
    # From the top: unsafe, safe, unsafe, safe.
    unsafe = np.array([True, False, True, False])
    figures = level1_figures(unsafe, np.array([0.9, 0.8, 0.7, 0.6]), 0.5, _each(4))
    assert figures.auprc is not None
    assert figures.auprc.value == pytest.approx((1 + 2 / 3) / 2)
    assert figures.roc_auc is not None
    assert figures.roc_auc.value == pytest.approx(3 / 4)


def test_a_curve_is_thinned_and_keeps_its_ends() -> None:
    values = np.linspace(0, 1, 5000)
    figures = level1_figures(values > 0.4, values, 0.5, _each(5000, 2))
    curve = figures.precision_recall
    assert 100 < len(curve) <= 200
    assert curve[0].recall == 1
    assert curve[-1].threshold == 1


# Level 2


def test_a_confusion_is_counted_as_by_hand() -> None:
    hazard = np.array([0, 0, 0, 1, 1])
    given_scores = np.eye(3)[[0, 0, 1, 1, 0]]
    figures = level2_figures(hazard, given_scores, LABELS, _each(5))
    assert figures is not None
    assert figures.confusion == ((2, 1, 0), (1, 1, 0), (0, 0, 0))
    assert _value(figures.accuracy) == pytest.approx(3 / 5)
    a, b, c = figures.hazards.values()
    assert (_value(a.precision), _value(a.recall)) == pytest.approx((2 / 3, 2 / 3))
    assert (_value(b.precision), _value(b.recall)) == pytest.approx((1 / 2, 1 / 2))
    assert (c.n_rows, c.precision, c.recall, c.f1) == (0, None, None, None)
    # Hazards that do not occur take no part in a mean.
    assert figures.macro_f1 is not None
    assert figures.macro_f1.value == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_level2_without_rows_has_no_figures() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert level2_figures(nothing, np.zeros((0, 3)), LABELS, Resampling(group=nothing)) is None


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
@settings(deadline=None)
def test_macro_figures_are_scikit_learns_over_the_hazards_that_occur(
    rows: list[tuple[int, int]],
) -> None:
    hazard, predicted = np.array(rows).T
    figures = level2_figures(hazard, np.eye(3)[predicted], LABELS, _each(len(rows), 5))
    assert figures is not None
    expected = precision_recall_fscore_support(
        hazard, predicted, labels=np.unique(hazard), average="macro", zero_division=0
    )
    found = (figures.macro_precision, figures.macro_recall, figures.macro_f1)
    assert [each.value for each in found if each] == pytest.approx(expected[:3])


# The cascade


def test_a_verdict_is_right_if_its_flag_and_the_hazard_that_it_names_are() -> None:
    labels = truth(
        [True, True, True, True, False, False, None],
        hazard=[0, 0, 0, -1, -1, -1, 0],
    )
    given_scores = scores([0.5, 0.9, 0.1, 0.9, 0.1, 0.9, 0.9], hazard=[0, 1, 0, 2, 2, 2, 0])
    right = cascade_right(labels, given_scores, 0.5)
    assert right.tolist() == [True, False, False, True, True, False, False]
    assert _value(share_right(right[labels.known], _each(6))) == pytest.approx(3 / 6)
    assert share_right(right[:0], _each(0)) is None


# Calibration


def test_bins_hold_equally_many_rows() -> None:
    index = bins_of(np.linspace(0, 1, 150))
    assert np.bincount(index).tolist() == [10] * 15


@given(
    confidence=st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.5001, 0.9]), min_size=1, max_size=60),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_bins_do_not_depend_on_the_order_of_rows(confidence: list[float], seed: int) -> None:
    values = np.array(confidence)
    order = np.random.default_rng(seed).permutation(len(values))
    np.testing.assert_array_equal(bins_of(values)[order], bins_of(values[order]))


def test_the_calibration_error_is_the_mean_gap() -> None:
    confidence = np.array([0.2, 0.2, 0.2, 0.2, 0.8, 0.8])
    hits = np.array([True, False, False, False, True, True])
    assert [b.n_rows for b in reliability(confidence, hits)] == [4, 2]
    expected = (4 * abs(0.2 - 0.25) + 2 * abs(0.8 - 1)) / 6
    assert expected_calibration_error(confidence, hits) == pytest.approx(expected)


def test_promises_that_are_kept_have_no_error() -> None:
    confidence = np.repeat([0.25, 0.75], 400)
    hits = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0])
    error = calibration_error(confidence, hits, _each(800, 200))
    assert error is not None
    assert error.value == pytest.approx(0)
    assert error.low == 0


# Slices


def test_each_row_lies_in_one_slice_of_each_dimension() -> None:
    rows = [row(i, lang="de" if i % 3 else None, source="ours") for i in range(90)]
    labels = truth([i % 2 == 0 for i in range(90)])
    slices = slices_of(rows, labels, scores([0.9, 0.1] * 45, n_tokens=17), 0.5)
    sizes = {(each.dimension, each.name): each.n_rows for each in slices}
    assert sizes == {
        ("language", "de"): 60,
        ("language", "not given"): 30,
        ("source", "ours"): 90,
        ("tokens", "17 to 64"): 90,
    }


def test_a_slice_of_too_few_rows_is_not_judged() -> None:
    n_few = MIN_ROWS - 1
    langs = ["de"] * n_few + ["en"] * 2 * MIN_ROWS
    rows = [row(i, lang=lang) for i, lang in enumerate(langs)]
    labels = truth([i % 2 == 0 for i in range(len(rows))])
    slices = slices_of(rows, labels, scores([0.9] * len(rows)), 0.5)
    english, german = (each for each in slices if each.dimension == "language")
    assert german.too_small
    assert german.recall is german.cascade_accuracy is None
    assert not english.too_small
    assert _value(english.recall) == 1
    assert _value(english.false_positive_rate) == 1
    assert english.hazard_accuracy is None


def test_a_figure_of_a_slice_needs_rows_that_bear_on_it() -> None:
    n_rows = 3 * MIN_ROWS
    rows = [row(i) for i in range(n_rows)]
    # Three unsafe rows that are all flagged would be a recall of 1 with no width.
    (by_language, _, _) = slices_of(
        rows, truth([True] * 3 + [False] * (n_rows - 3)), scores([0.9] * n_rows), 0.5
    )
    assert by_language.recall is None
    assert by_language.false_positive_rate is not None


def test_buckets_of_tokens_join_without_gaps() -> None:
    names = [bucket_name(bucket) for bucket in range(5)]
    assert names == ["0 to 16", "17 to 64", "65 to 256", "257 to 1024", "1025 and more"]


def test_slices_by_tokens_come_in_order_of_length() -> None:
    lengths = np.array([2000, 5, 100, 16, 17, 1024, 1025])
    given_scores = scores([0.9] * 7)
    given_scores = type(given_scores)(
        unsafe=given_scores.unsafe, hazards=given_scores.hazards, n_tokens=lengths
    )
    slices = slices_of([row(i) for i in range(7)], truth([True] * 7), given_scores, 0.5)
    by_tokens = [(each.name, each.n_rows) for each in slices if each.dimension == "tokens"]
    assert by_tokens == [
        ("0 to 16", 2),
        ("17 to 64", 1),
        ("65 to 256", 1),
        ("257 to 1024", 1),
        ("1025 and more", 2),
    ]
