"""Several systems as one ensemble: its figures, and their bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hazgate.judging.hedge import weights_of
from hazgate_evaluation.regret import regret_figures


@given(data=st.data(), n=st.integers(1, 300), n_systems=st.integers(2, 4))
def test_the_curve_ends_in_the_figures_and_never_passes_the_bound(
    data: st.DataObject, n: int, n_systems: int
) -> None:
    predictions = data.draw(arrays(np.float64, (n, n_systems), elements=st.floats(0, 1)))
    unsafe = data.draw(arrays(np.bool_, n))
    found = regret_figures(predictions, unsafe)
    losses = ((predictions - unsafe[:, None]) ** 2).sum(axis=0)
    np.testing.assert_allclose(found.mean_losses, losses / n, atol=1e-12)
    last = found.curve[-1]
    assert last.n_outcomes == n
    assert last.regret == found.regret == pytest.approx(n * found.mean_loss - losses.min())
    np.testing.assert_allclose(last.weights, weights_of(losses), atol=1e-9)
    assert found.curve[0].n_outcomes == 1
    assert len(found.curve) == min(n, 200)
    assert all(point.regret <= found.bound for point in found.curve)


def test_a_system_that_is_always_right_comes_to_be_trusted() -> None:
    unsafe = np.arange(100) % 3 == 0
    predictions = np.column_stack([unsafe, np.full(100, 0.5)])
    found = regret_figures(predictions, unsafe)
    assert found.curve[-1].weights[0] > 0.99
    assert found.mean_losses[0] == 0
