"""The ensemble's loss stays within its bound of the best expert's, whatever comes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hazgate.judging.hedge import LEARNING_RATE, play, regret_bound, squared_losses, weights_of

PROBABILITY = st.floats(0, 1)


@given(data=st.data(), n=st.integers(1, 60), n_experts=st.integers(2, 6))
def test_regret_never_exceeds_its_bound(data: st.DataObject, n: int, n_experts: int) -> None:
    predictions = data.draw(arrays(np.float64, (n, n_experts), elements=PROBABILITY))
    outcomes = data.draw(arrays(np.bool_, n))
    together = squared_losses(play(predictions, outcomes), outcomes).sum()
    best = squared_losses(predictions, outcomes[:, None]).sum(axis=0).min()
    assert together - best <= regret_bound(n_experts) + 1e-9


def test_an_adversary_who_answers_against_the_ensemble_does_not_break_the_bound() -> None:
    # Each outcome is what costs the ensemble most, against experts that always disagree.
    predictions = np.tile([0.0, 1.0, 0.5], (2000, 1))
    outcomes = np.zeros(2000, dtype=np.bool_)
    for i in range(2000):
        losses = squared_losses(predictions[:i], outcomes[:i, None]).sum(axis=0)
        outcomes[i] = weights_of(losses) @ predictions[i] < 0.5
    together = squared_losses(play(predictions, outcomes), outcomes).sum()
    best = squared_losses(predictions, outcomes[:, None]).sum(axis=0).min()
    assert together - best <= regret_bound(3)


def test_a_greater_learning_rate_would_not_keep_the_bound_of_concavity() -> None:
    # exp(-η (p - y)²) is concave in p where 2 η (p - y)² ≤ 1; at distance one, up to a half.
    p = np.linspace(0, 1, 1001)

    def bends_up(rate: float) -> bool:
        return bool((np.diff(np.exp(-rate * p**2), 2) > 1e-12).any())

    assert not bends_up(LEARNING_RATE)
    assert bends_up(LEARNING_RATE * 1.1)


def test_weights_start_equal_and_follow_the_losses_exponentially() -> None:
    assert weights_of(np.zeros(4)).tolist() == [0.25] * 4
    first, second = weights_of(np.array([3.0, 1.0]))
    assert second / first == pytest.approx(math.exp(LEARNING_RATE * 2))


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=5), st.floats(0, 1e6))
def test_weights_sum_to_one_and_depend_on_differences_alone(
    losses: list[float], more: float
) -> None:
    weights = weights_of(np.array(losses))
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights_of(np.array(losses) + more), weights, atol=1e-6)


def test_a_prediction_is_made_before_its_outcome_is_learnt() -> None:
    predictions = np.array([[0.0, 1.0], [0.0, 1.0]])
    mixed = play(predictions, np.array([True, True]))
    assert mixed[0] == 0.5
    assert mixed[1] == pytest.approx(1 / (1 + math.exp(-LEARNING_RATE)))
