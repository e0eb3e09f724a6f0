"""Temperatures are found where they were planted, and change no decision."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import InputError
from hazgate.judging.scores import calibrated
from hazgate_evaluation.calibration.split import fit_half
from hazgate_evaluation.calibration.temperature import (
    binary_logits,
    fit_temperature,
    logits_of,
    negative_log_likelihood,
)


def test_the_likelihood_is_the_one_counted_by_hand() -> None:
    logits = np.array([[0.0, math.log(3)], [0.0, math.log(3)]])
    # P = 1/4 and 3/4; at temperature 2 their odds are √3.
    expected = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    assert negative_log_likelihood(logits, np.array([1, 0]), 1.0) == pytest.approx(expected)
    p = math.sqrt(3) / (1 + math.sqrt(3))
    expected = -(math.log(p) + math.log(1 - p)) / 2
    assert negative_log_likelihood(logits, np.array([1, 0]), 2.0) == pytest.approx(expected)


def test_a_temperature_of_two_values_is_the_exact_one() -> None:
    # Odds of 9 that come true three times of four call for odds of 3: half the logit.
    logits = np.tile([[0.0, math.log(9)]], (4, 1))
    labels = np.array([1, 1, 1, 0])
    assert fit_temperature(logits, labels, level="Level 1") == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize("planted", [0.5, 1.0, 2.5])
def test_a_planted_temperature_is_found(planted: float) -> None:
    random = np.random.default_rng(0)
    true_logits = random.normal(size=(4000, 5)) * 2
    chances = np.exp(true_logits) / np.exp(true_logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1)
    found = fit_temperature(true_logits * planted, labels, level="Level 2")
    assert found == pytest.approx(planted, rel=0.06)


def test_rows_that_agree_in_everything_have_no_temperature() -> None:
    logits = np.array([[0.0, 5.0], [5.0, 0.0]])
    with pytest.raises(InputError, match="add rows"):
        fit_temperature(logits, np.array([1, 0]), level="Level 1")
    with pytest.raises(InputError, match="in nothing"):
        fit_temperature(logits, np.array([0, 1]), level="Level 1")


@given(positive=st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(deadline=None)
def test_probabilities_and_their_logits_say_the_same(positive: list[float]) -> None:
    values = np.array(positive)
    logits = binary_logits(values)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(calibrated(logits, 1.0)[:, 1], values, atol=1e-15)
    both = np.column_stack([1 - values, values])
    np.testing.assert_allclose(calibrated(logits_of(both), 1.0), both, atol=1e-15)


@given(
    weights=st.lists(st.integers(1, 50), min_size=3, max_size=3), temperature=st.floats(0.05, 20)
)
@settings(deadline=None)
def test_a_temperature_keeps_the_order_of_labels(weights: list[int], temperature: float) -> None:
    probabilities = np.array([weights]) / sum(weights)
    after = calibrated(logits_of(probabilities), temperature)
    assert after.sum() == pytest.approx(1)
    order = np.argsort(probabilities[0], kind="stable")
    assert (np.diff(after[0][order]) >= -1e-12).all()


@given(numbers=st.lists(st.integers(0, 9), min_size=2, max_size=40), seed=st.integers(0, 9))
@settings(deadline=None)
def test_halves_share_no_group_and_are_halves_of_the_groups(numbers: list[int], seed: int) -> None:
    _, group = np.unique(numbers, return_inverse=True)
    fit = fit_half(group, seed)
    fitted, measured = set(group[fit].tolist()), set(group[~fit].tolist())
    assert not fitted & measured
    assert 0 <= len(measured) - len(fitted) <= 1
    np.testing.assert_array_equal(fit_half(group, seed), fit)
