import dataclasses

import pytest

from benchmarks.harness.statistics import RoundSpread, percentiles, speedup, spread


def test_percentiles_interpolate_between_calls_and_are_in_milliseconds() -> None:
    # 0, 1, …, 100 ms: the p-th percentile is p ms.
    found = percentiles([ms / 1e3 for ms in reversed(range(101))])
    assert dataclasses.astuple(found) == pytest.approx((5.0, 50.0, 95.0, 99.0))


def test_percentiles_of_two_calls_are_between_them() -> None:
    found = percentiles([0.010, 0.020])
    assert found.p50_ms == pytest.approx(15.0)
    assert found.p95_ms == pytest.approx(19.5)


def test_percentiles_of_one_call_are_that_call() -> None:
    assert percentiles([0.004]).p5_ms == percentiles([0.004]).p99_ms == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("values", "median"),
    [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 3.0], 2.5), ([7.0], 7.0)],
    ids=["odd", "even", "one"],
)
def test_spread_is_median_and_range(values: list[float], median: float) -> None:
    assert spread(values) == RoundSpread(median=median, least=min(values), greatest=max(values))


def test_speedup_is_the_median_of_ratios_within_rounds() -> None:
    # Round by round 10, 2 and 2; the ratio of the medians, 6 / 2, would be 3.
    found = speedup(baseline=[10.0, 2.0, 6.0], other=[1.0, 1.0, 3.0])
    assert found == RoundSpread(median=2.0, least=2.0, greatest=10.0)


def test_speedup_of_a_system_over_itself_is_one() -> None:
    assert speedup([3.0, 5.0], [3.0, 5.0]) == RoundSpread(median=1.0, least=1.0, greatest=1.0)


def test_speedup_needs_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="zip"):
        speedup([1.0, 2.0], [1.0])
