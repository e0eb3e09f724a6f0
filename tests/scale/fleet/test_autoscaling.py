"""The number of replicas, as a function of what each reports."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from hazgate_scale.fleet.autoscaling import TOKENS, TokenLoad, desired_replicas

loads = st.lists(st.floats(0, 1e6), max_size=20)
targets = st.floats(1, 1e5)
counts = st.integers(0, 20)


@given(loads, targets, counts)
def test_the_wanted_replicas_would_each_have_the_target(
    tokens: list[float], target: float, n_current: int
) -> None:
    wanted = desired_replicas(tokens, 0, target_tokens=target, n_current=n_current)
    if tokens:
        assert abs(wanted * target - sum(tokens)) <= 1e-6 * max(1.0, sum(tokens))


@given(loads, targets, counts, st.integers(1, 5))
def test_nobody_ends_while_a_replica_has_not_reported(
    tokens: list[float], target: float, n_current: int, n_silent: int
) -> None:
    wanted = desired_replicas(tokens, n_silent, target_tokens=target, n_current=n_current)
    assert wanted >= n_current


@given(targets, counts)
def test_without_a_running_replica_the_number_stays(target: float, n_current: int) -> None:
    assert desired_replicas([], 0, target_tokens=target, n_current=n_current) == n_current


@given(loads, targets, counts, st.floats(0, 1e6))
def test_more_tokens_never_want_fewer_replicas(
    tokens: list[float], target: float, n_current: int, more: float
) -> None:
    before = desired_replicas([*tokens, 0.0], 0, target_tokens=target, n_current=n_current)
    after = desired_replicas([*tokens, more], 0, target_tokens=target, n_current=n_current)
    assert after >= before


@dataclass
class _Context:
    running_replicas: list[str]
    target_num_replicas: int
    aggregated_metrics: dict[str, dict[str, float]] | None


def test_a_replica_that_has_ended_counts_no_more() -> None:
    reported = {TOKENS: {"a": 300.0, "b": 100.0, "gone": 900.0}}
    assert TokenLoad(target_tokens=100)(_Context(["a", "b"], 2, reported)) == (4.0, {})


def test_figures_of_others_are_not_taken_for_tokens() -> None:
    policy = TokenLoad(target_tokens=100)
    assert policy(_Context(["a"], 3, {"ongoing": {"a": 9.0}})) == (3, {})
    assert policy(_Context(["a"], 3, None)) == (3, {})
