"""The estimate of an engine's speed follows its last runs and forgets older ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.serving.queue.throughput import Ratio, Throughput

MEASUREMENTS = st.lists(
    st.tuples(st.floats(0.001, 10), st.integers(1, 10_000)), min_size=1, max_size=30
)


def _of(measurements: list[tuple[float, int]]) -> Ratio:
    ratio = Ratio()
    for numerator, denominator in measurements:
        ratio.add(numerator, denominator)
    return ratio


def test_without_measurements_the_average_is_0() -> None:
    assert Ratio().value == 0


@given(measurements=MEASUREMENTS)
def test_the_average_lies_between_the_least_and_the_greatest_ratio(
    measurements: list[tuple[float, int]],
) -> None:
    ratios = [numerator / denominator for numerator, denominator in measurements]
    assert min(ratios) * (1 - 1e-9) <= _of(measurements).value <= max(ratios) * (1 + 1e-9)


@given(measurements=MEASUREMENTS)
def test_old_measurements_are_forgotten(measurements: list[tuple[float, int]]) -> None:
    ratio = _of(measurements)
    for _ in range(400):
        ratio.add(3.0, 2)
    assert ratio.value == pytest.approx(1.5)


def test_a_short_run_has_little_weight() -> None:
    # A run takes a millisecond, and another one per hundred tokens.
    ratio = _of([(0.00101, 1), (0.011, 1000)])
    assert ratio.value < 0.00002


def test_halving_halves_the_average() -> None:
    ratio = _of([(4.0, 2)])
    ratio.halve()
    assert ratio.value == 1.0


def _throughput() -> Throughput:
    """Return the estimate for an engine that takes a millisecond per token."""
    throughput = Throughput()
    throughput.ran(1.0, n_tokens=1000, n_requests=10)
    return throughput


@given(n_tokens=st.integers(0, 10_000), timeout_s=st.floats(0, 10))
def test_an_idle_engine_refuses_nothing(n_tokens: int, timeout_s: float) -> None:
    throughput = _throughput()
    assert not throughput.refusal(5.0, tokens_ahead=0, n_tokens=n_tokens, timeout_s=timeout_s)
    throughput.begin(5.0, 100)
    throughput.end()
    assert not throughput.refusal(5.0, tokens_ahead=0, n_tokens=n_tokens, timeout_s=timeout_s)


@given(
    running=st.integers(1, 3000),
    tokens_ahead=st.integers(0, 3000),
    n_tokens=st.integers(0, 3000),
    timeout_s=st.floats(0.01, 10),
    passed_s=st.floats(0, 3),
)
def test_an_admitted_request_ends_in_time_by_the_estimate(
    running: int, tokens_ahead: int, n_tokens: int, timeout_s: float, passed_s: float
) -> None:
    throughput = _throughput()
    throughput.begin(0.0, running)
    refusal = throughput.refusal(
        passed_s, tokens_ahead=tokens_ahead, n_tokens=n_tokens, timeout_s=timeout_s
    )
    ahead_s = max(0.0, running / 1000 - passed_s) + tokens_ahead / 1000
    if refusal is None and ahead_s > 0:
        assert ahead_s + n_tokens / 1000 <= timeout_s + 1e-9
    elif refusal is not None:
        assert 2 * ahead_s + n_tokens / 1000 > timeout_s - 1e-9


def test_a_request_without_deadline_is_never_refused() -> None:
    throughput = _throughput()
    throughput.begin(0.0, 10**6)
    assert throughput.refusal(0.0, tokens_ahead=10**6, n_tokens=9, timeout_s=float("inf")) is None


def test_a_batch_dropped_as_too_late_halves_the_estimate() -> None:
    throughput = _throughput()
    throughput.begin(0.0, 0)
    assert throughput.seconds_per_token == pytest.approx(0.0005)
    assert throughput.tokens_per_request == 100


def test_a_run_that_is_slower_than_the_average_counts_at_once() -> None:
    engine = Throughput()
    engine.ran(1.0, n_tokens=1000, n_requests=1)
    engine.begin(10.0, 100)
    assert engine.present_seconds_per_token(10.0, batch_tokens=100) == engine.seconds_per_token
    assert engine.present_seconds_per_token(11.0, batch_tokens=100) == 0.01
    engine.end()
    assert engine.present_seconds_per_token(99.0, batch_tokens=100) == engine.seconds_per_token


def test_a_batch_of_few_tokens_does_not_pass_its_fixed_cost_off_as_the_pace_of_a_full_one() -> None:
    engine = Throughput()
    engine.ran(1.0, n_tokens=1000, n_requests=1)
    engine.begin(10.0, 2)
    assert engine.present_seconds_per_token(10.2, batch_tokens=256) == engine.seconds_per_token
    # However few its tokens: a full batch takes no less than this one.
    assert engine.present_seconds_per_token(12.56, batch_tokens=256) == pytest.approx(0.01)
    engine.begin(20.0, 512)
    assert engine.present_seconds_per_token(25.12, batch_tokens=256) == pytest.approx(0.01)


@given(running=st.integers(1, 3000), ahead=st.integers(0, 3000), piece=st.integers(1, 3000))
def test_who_is_made_way_for_waits_no_longer_than_without(
    running: int, ahead: int, piece: int
) -> None:
    throughput = _throughput()
    throughput.begin(0.0, running)

    def is_refused(timeout_s: float, **options: float) -> bool:
        return (
            throughput.refusal(0.0, tokens_ahead=ahead, n_tokens=0, timeout_s=timeout_s, **options)
            is not None
        )

    waits_s = (ahead + (min(running, ahead + piece) if running > piece else running)) / 1000
    assert not is_refused(2 * waits_s + 1e-6, piece_tokens=piece)
    assert is_refused(2 * waits_s - 1e-6, piece_tokens=piece)
    assert not (is_refused(1.0, piece_tokens=piece) and not is_refused(1.0))


def test_a_batch_that_made_way_is_free_later() -> None:
    throughput = _throughput()
    throughput.begin(0.0, 1000)
    throughput.made_way(0.5)
    assert throughput.refusal(1.2, tokens_ahead=0, n_tokens=0, timeout_s=0.5) is not None
    assert throughput.present_seconds_per_token(1.5, batch_tokens=1) == pytest.approx(0.001)
