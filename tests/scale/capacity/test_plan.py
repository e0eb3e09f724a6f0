"""The answer keeps its own bound, and what cannot be answered is refused with the reason."""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.errors import InputError
from hazgate_scale.capacity.bill import Prices, bill_of
from hazgate_scale.capacity.fleet import Fleet, simulate
from hazgate_scale.capacity.plan import CapacityPlan, Demand, plan_capacity, quickest
from hazgate_scale.capacity.search import MAX_UTILISATION, find_workers, percentile_ms
from hazgate_scale.capacity.service import costs_of
from hazgate_scale.capacity.times import ServiceTimes, parse_times
from hazgate_scale.capacity.traffic import Bursts, make_traffic
from tests.support.planning import times_document, traffic

LENGTHS = np.clip(np.random.default_rng(0).lognormal(3.3, 0.8, 400), 3, 300).astype(int).tolist()
DEMAND = Demand(
    qps=800,
    p99_ms=100,
    flagged_share=0.1,
    bursts=None,
    n_survive=1,
    n_roll_out=1,
    routing="two-choices",
    timeout_s=2,
    detection_s=1,
    n_requests=4000,
    seed=0,
)
PRICES = Prices(units_per_host=16, bandwidth_gbit_s=10, per_unit_hour=0.05)


@pytest.fixture(scope="module")
def times() -> ServiceTimes:
    return parse_times(json.dumps(times_document()).encode(), "times.json")


def _silent(title: str, total: int) -> Callable[[int], None]:
    assert title
    assert total >= 1
    return lambda _: None


def _plan(times: ServiceTimes, **changes: object) -> CapacityPlan:
    demand = dataclasses.replace(DEMAND, **changes)  # type: ignore[arg-type] # several fields
    return plan_capacity(times, None, LENGTHS, demand, PRICES, _silent)


@given(
    load=st.floats(1, 30),
    slack=st.floats(2, 20),
    seed=st.integers(0, 9),
    routing=st.sampled_from(["random", "two-choices", "least-outstanding"]),
)
@settings(max_examples=12, deadline=None)
def test_the_fleet_that_is_found_keeps_the_bound_when_simulated_and_far_fewer_do_not(
    load: float, slack: float, seed: int, routing: str
) -> None:
    service_s = np.random.default_rng(seed).exponential(0.01, 2000)
    bound_ms = slack * 1e3 * float(np.percentile(service_s, 99))
    come = traffic(service_s, load / 0.01, seed)
    fleet = Fleet(n_workers=1, routing=routing, timeout_s=1e3)  # type: ignore[arg-type] # sampled
    found = find_workers(
        fleet, come, bound_ms=bound_ms, seed=seed, on_simulation=lambda _: lambda _: None
    )

    def keeps(n_workers: int) -> bool:
        one = simulate(dataclasses.replace(fleet, n_workers=n_workers), come, seed=seed)
        return percentile_ms(one, 99) <= bound_ms and one.utilisation <= MAX_UTILISATION

    assert keeps(found.n_workers)
    assert found.tried[found.n_workers] <= bound_ms
    # No fleet is enough that has more to do than it can do.
    assert found.n_workers >= 0.9 * load
    assert found.n_workers == 1 or not keeps(found.n_workers - 1)


def test_a_plan_keeps_its_bound_and_counts_spare_workers(times: ServiceTimes) -> None:
    plan = _plan(times, n_survive=2, n_roll_out=3)
    assert plan.needed.p99_ms is not None
    assert plan.needed.p99_ms <= DEMAND.p99_ms
    assert plan.needed.utilisation <= MAX_UTILISATION
    assert plan.n_workers == plan.n_needed + 5
    assert plan.whole.n_workers == plan.n_workers
    assert plan.whole.utilisation < plan.needed.utilisation
    assert plan.with_loss is not None
    # Two of nine workers; what was sent to them before the router knew is lost.
    assert 0.95 < plan.with_loss.answered_share < 1
    assert plan.with_loss.lost_share == pytest.approx(1 - plan.with_loss.answered_share)
    assert plan.bill.n_units == 2 * plan.n_workers


def test_without_failures_to_survive_none_is_simulated(times: ServiceTimes) -> None:
    assert _plan(times, n_survive=0).with_loss is None


def test_more_texts_or_bursts_or_a_tighter_bound_take_more_workers(times: ServiceTimes) -> None:
    base = _plan(times).n_needed
    assert _plan(times, qps=1600).n_needed > base
    assert _plan(times, p99_ms=45.0).n_needed > base
    bursts = Bursts(factor=4, mean_s=0.3, period_s=1.5)
    assert _plan(times, bursts=bursts).n_needed > base
    assert _plan(times, flagged_share=0.9).n_needed > base


def test_the_same_seed_gives_the_same_plan(times: ServiceTimes) -> None:
    assert _plan(times) == _plan(times)


def test_a_bound_that_texts_miss_by_themselves_is_refused_with_the_longest(
    times: ServiceTimes,
) -> None:
    with pytest.raises(InputError, match=r"texts take 20 ms or longer .*\(the longest \d+ ms\)"):
        _plan(times, p99_ms=20.0)


@pytest.mark.parametrize("bound", [0, -5, float("nan")])
def test_a_bound_that_is_none_is_refused(times: ServiceTimes, bound: float) -> None:
    with pytest.raises(InputError):
        _plan(times, p99_ms=bound)


def test_a_long_text_too_rare_to_count_does_not_make_the_bound_impossible(
    times: ServiceTimes,
) -> None:
    costs = costs_of([20] * 999 + [3000], times.variants["int8-fused"], times.windows)
    assert costs.alone_s(flagged=False).max() > 0.05
    demand = dataclasses.replace(DEMAND, p99_ms=50.0)
    assert plan_capacity(times, None, [20] * 999 + [3000], demand, PRICES, _silent).n_needed >= 1


@pytest.mark.parametrize("wrong", [{"n_survive": -1}, {"n_roll_out": 0}])
def test_numbers_of_spare_workers_that_are_none_are_refused(
    times: ServiceTimes, wrong: dict[str, int]
) -> None:
    with pytest.raises(InputError):
        _plan(times, **wrong)


def test_a_variant_without_times_is_refused_by_naming_those_that_have_them(
    times: ServiceTimes,
) -> None:
    with pytest.raises(InputError, match=r"'int4' of test; it has times of int8-fused"):
        plan_capacity(times, "int4", LENGTHS, DEMAND, PRICES, _silent)


def test_the_quickest_variant_is_taken(times: ServiceTimes) -> None:
    document = times_document()
    slow = json.loads(json.dumps(document["variants"]["int8-fused"]))
    slow["text_ms"] = 5.0
    document["variants"] = {"fp32": slow, **document["variants"]}
    assert quickest(parse_times(json.dumps(document).encode(), "t"), LENGTHS) == "int8-fused"


def test_the_bill_is_what_one_works_out_by_hand(times: ServiceTimes) -> None:
    bill = bill_of(
        20,
        times,
        times.variants["int8-fused"],
        PRICES,
        rate=1000,
        n_roll_out=3,
        drain_s=0.1,
    )
    # Workers of 2 cores, 8 on a host of 16.
    assert (bill.n_units, bill.n_hosts) == (40, 3)
    assert bill.host_memory_bytes == 8 * 70_000_000 + 90_000_000
    assert bill.distribution_s == pytest.approx(3 * 40e6 * 8 / 10e9)
    assert bill.roll_out_s == pytest.approx(7 * 0.6)
    # 40 cores at 0.05 an hour, 3.6 million texts an hour.
    assert bill.cost_per_million == pytest.approx(2 / 3.6)


def test_a_host_too_small_for_a_worker_is_refused(times: ServiceTimes) -> None:
    small = dataclasses.replace(PRICES, units_per_host=1)
    with pytest.raises(InputError, match="needs 2 cores and a host has only 1"):
        plan_capacity(times, None, LENGTHS, DEMAND, small, _silent)


@pytest.mark.parametrize("name", ["units_per_host", "bandwidth_gbit_s", "per_unit_hour"])
def test_prices_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        dataclasses.replace(PRICES, **{name: 0})


def test_long_bounds_are_simulated_long_enough_for_queues_to_grow(times: ServiceTimes) -> None:
    totals: list[int] = []

    def note(title: str, total: int) -> Callable[[int], None]:
        totals.append(total)
        return lambda _: None

    demand = dataclasses.replace(DEMAND, p99_ms=1000.0, qps=700.0)
    plan_capacity(times, None, LENGTHS, demand, PRICES, note)
    assert set(totals) == {7000}


def test_traffic_of_the_plan_is_drawn_from_the_lengths(times: ServiceTimes) -> None:
    costs = costs_of(LENGTHS, times.variants["int8-fused"], times.windows)
    come = make_traffic(costs, rate=10, n=5000, flagged_share=0.1, bursts=None, seed=0)
    assert set(come.costs.n_tokens.tolist()) <= set(costs.n_tokens.tolist())
    assert come.costs.n_tokens.mean() == pytest.approx(costs.n_tokens.mean(), rel=0.1)
