"""Probabilities are probabilities, whatever finite logits a model gives."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hazgate import InferenceError
from hazgate.judging.scores import calibrated, check_probabilities, sigmoid, softmax

# Rounding of a few float64 operations on numbers near one.
TOLERANCE = 1e-12
LARGEST = float(np.finfo(np.float32).max)
ANY_LOGITS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=9
)
# Eighths of this size add up without rounding in float32.
EXACT = st.integers(min_value=-8000, max_value=8000).map(lambda eighths: eighths / 8)


def _array(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


@given(values=ANY_LOGITS)
@settings(deadline=None)
def test_softmax_sums_to_one_and_stays_in_range(values: list[float]) -> None:
    probabilities = softmax(_array(values))
    assert np.isfinite(probabilities).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert abs(probabilities.sum() - 1) <= TOLERANCE


@given(values=ANY_LOGITS)
@settings(deadline=None)
def test_softmax_preserves_order_and_ties(values: list[float]) -> None:
    logits = _array(values)
    probabilities = softmax(logits)
    ranked = probabilities[np.argsort(logits, kind="stable")]
    assert (np.diff(ranked) >= 0).all()
    assert np.unique(probabilities[logits == logits.max()]).size == 1


@given(values=st.lists(EXACT, min_size=2, max_size=9), shift=EXACT)
@settings(deadline=None)
def test_softmax_does_not_depend_on_a_shift_of_all_logits(
    values: list[float], shift: float
) -> None:
    np.testing.assert_allclose(
        softmax(_array(values) + np.float32(shift)), softmax(_array(values)), rtol=0, atol=TOLERANCE
    )


@given(values=st.lists(EXACT, min_size=2, max_size=9))
@settings(deadline=None)
def test_softmax_equals_the_definition_in_fifty_digits(values: list[float]) -> None:
    with localcontext() as context:
        context.prec = 50
        powers = [Decimal(value).exp() for value in values]
        total = sum(powers, start=Decimal(0))
        shares = [float(power / total) for power in powers]
    np.testing.assert_allclose(softmax(_array(values)), shares, rtol=TOLERANCE, atol=1e-300)


@pytest.mark.parametrize("size", [1e20, 1e38, LARGEST], ids=str)
def test_the_largest_logits_neither_overflow_nor_lose_the_answer(size: float) -> None:
    logits = _array([size, -size])
    np.testing.assert_array_equal(softmax(logits), [1.0, 0.0])
    for equal in (size, -size):
        np.testing.assert_allclose(softmax(_array([equal, equal])), [0.5, 0.5], atol=TOLERANCE)


def test_small_cases_are_exact() -> None:
    np.testing.assert_array_equal(softmax(_array([0, 0])), [0.5, 0.5])


def test_rows_are_scored_one_by_one() -> None:
    logits = np.array([[0, 1, 2], [5, 5, 5], [-1e30, 0, 1e30]], dtype=np.float32)
    assert softmax(logits).shape == (3, 3)
    for row, whole in zip(logits, softmax(logits), strict=True):
        np.testing.assert_array_equal(softmax(row), whole)
    assert softmax(np.empty((0, 2), dtype=np.float32)).shape == (0, 2)


def test_the_arithmetic_is_float64() -> None:
    # In float32 this difference of probabilities would vanish.
    probabilities = softmax(_array([0, 20]))
    assert probabilities.dtype == np.float64
    assert 0 < 1 - probabilities[1] < 1e-8


@given(values=ANY_LOGITS)
@settings(deadline=None)
def test_sigmoid_scores_are_probabilities_and_those_of_opposite_logits_sum_to_one(
    values: list[float],
) -> None:
    logits = _array(values)
    scores = sigmoid(logits)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(scores + sigmoid(-logits), 1.0, atol=TOLERANCE)


def test_sigmoid_tells_the_very_unlikely_from_the_impossible() -> None:
    assert sigmoid(_array([-80.0]))[0] == pytest.approx(math.exp(-80), rel=1e-12)


@given(values=ANY_LOGITS)
@settings(deadline=None)
def test_sigmoid_at_a_temperature_of_one_changes_no_bit(values: list[float]) -> None:
    assert (calibrated(_array(values), 1.0, "sigmoid") == sigmoid(_array(values))).all()


TEMPERATURES = st.floats(min_value=0.01, max_value=100)


@given(values=ANY_LOGITS)
@settings(deadline=None)
def test_a_temperature_of_one_changes_no_bit(values: list[float]) -> None:
    assert (calibrated(_array(values), 1.0) == softmax(_array(values))).all()


@given(values=ANY_LOGITS, temperature=TEMPERATURES)
@settings(deadline=None)
def test_calibrated_scores_are_probabilities_in_the_order_of_the_logits(
    values: list[float], temperature: float
) -> None:
    logits = _array(values)
    probabilities = calibrated(logits, temperature)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert abs(probabilities.sum() - 1) <= TOLERANCE
    assert (np.diff(probabilities[np.argsort(logits, kind="stable")]) >= 0).all()


def test_two_labels_at_a_temperature_have_the_odds_of_their_divided_difference() -> None:
    probabilities = calibrated(_array([0.0, 3.0]), 1.5)
    assert probabilities[1] / probabilities[0] == pytest.approx(math.exp(2.0), rel=1e-12)


def test_a_higher_temperature_moves_the_scores_together() -> None:
    tops = [calibrated(_array([2.0, 0.0, -1.0]), t).max() for t in (0.5, 1.0, 2.0, 100.0)]
    assert tops == sorted(tops, reverse=True)
    assert tops[-1] == pytest.approx(1 / 3, abs=0.01)


def test_every_number_that_is_no_probability_is_named() -> None:
    check_probabilities({"a": 0.0, "b": 1.0, "c": 0.5})
    with pytest.raises(InferenceError) as caught:
        check_probabilities({"a": math.nan, "b": 0.5, "c": 1.5, "d": -math.inf})
    assert str(caught.value) == ("expected scores between 0 and 1, got a = nan, c = 1.5, d = -inf")
