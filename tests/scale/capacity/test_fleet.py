"""The simulation agrees with the textbooks where they have formulas, and loses count of nothing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.errors import InputError
from hazgate.serving.queue.backlog import QueueLimits
from hazgate_scale.capacity.fleet import Fate, Fleet, RollOut, Routing, WorkerFailure, simulate
from hazgate_scale.capacity.queueing import guess_workers, late_share, mean_wait_s
from hazgate_scale.capacity.service import Costs, spread_factor
from hazgate_scale.capacity.times import RunSpread
from hazgate_scale.capacity.traffic import Bursts, Traffic, in_bursts, make_traffic, poisson
from tests.support.planning import NO_SPREAD, ONE_BY_ONE, costs, traffic

MEAN_S = 0.01
N = 20_000
TEXTBOOK = Fleet(n_workers=1, limits=ONE_BY_ONE, timeout_s=1e6)
ROUTINGS: tuple[Routing, ...] = ("random", "two-choices", "least-outstanding")


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_exponential_service_waits_as_the_formula_of_one_server_says(load: float) -> None:
    service_s = np.random.default_rng(1).exponential(MEAN_S, N)
    outcome = simulate(TEXTBOOK, traffic(service_s, load / MEAN_S), seed=0)
    # M/M/1: the time in the system is exponential with this mean.
    mean_s = MEAN_S / (1 - load)
    assert outcome.latency_s.mean() == pytest.approx(mean_s, rel=0.08)
    assert outcome.percentile_ms(99) == pytest.approx(1e3 * mean_s * np.log(100), rel=0.12)
    assert outcome.utilisation == pytest.approx(load, rel=0.03)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_constant_service_waits_half_of_what_exponential_service_does(load: float) -> None:
    outcome = simulate(TEXTBOOK, traffic(np.full(N, MEAN_S), load / MEAN_S), seed=0)
    # M/D/1
    wait_s = MEAN_S * load / (2 * (1 - load))
    assert outcome.latency_s.mean() - MEAN_S == pytest.approx(wait_s, rel=0.08)


def test_any_service_waits_as_pollaczek_and_khinchine_say() -> None:
    service_s = np.random.default_rng(3).lognormal(np.log(MEAN_S), 0.8, N)
    rate = 0.6 / service_s.mean()
    outcome = simulate(TEXTBOOK, traffic(service_s, rate), seed=0)
    waited_s = outcome.latency_s.mean() - service_s.mean()
    assert waited_s == pytest.approx(mean_wait_s(rate, service_s), rel=0.1)


def test_random_routing_makes_as_many_queues_of_one_server() -> None:
    service_s = np.random.default_rng(1).exponential(MEAN_S, N)
    fleet = dataclasses.replace(TEXTBOOK, n_workers=5, routing="random")
    outcome = simulate(fleet, traffic(service_s, 5 * 0.6 / MEAN_S), seed=0)
    assert outcome.latency_s.mean() == pytest.approx(MEAN_S / 0.4, rel=0.08)


def test_two_choices_wait_less_than_one_and_more_than_all() -> None:
    service_s = np.random.default_rng(1).exponential(MEAN_S, N)
    came = traffic(service_s, 20 * 0.8 / MEAN_S)
    waited = {
        routing: simulate(
            dataclasses.replace(TEXTBOOK, n_workers=20, routing=routing), came, seed=0
        ).latency_s.mean()
        for routing in ROUTINGS
    }
    assert waited["random"] > 1.5 * waited["two-choices"]
    assert waited["two-choices"] > 1.2 * waited["least-outstanding"]


def test_texts_of_a_batch_share_what_a_run_takes() -> None:
    n = 400
    alone = costs(np.full(n, 0.001))
    come = Traffic(
        arrivals_s=np.zeros(n),
        flagged=np.arange(n) % 4 == 0,
        costs=dataclasses.replace(
            alone, run_level1_s=0.01, run_level2_s=0.02, level2_s=np.full(n, 0.002)
        ),
    )
    limits = QueueLimits(max_queue_requests=n, max_queue_tokens=n, max_batch_tokens=8)
    outcome = simulate(Fleet(n_workers=1, limits=limits, timeout_s=1e6), come, seed=0)
    # Batches of eight, with two flagged.
    seconds = n / 8 * (0.01 + 0.02 + 8 * 0.001 + 2 * 0.002)
    assert outcome.latency_s.max() == pytest.approx(seconds, rel=1e-6)
    assert outcome.utilisation == pytest.approx(1)


FLEETS = st.builds(
    Fleet,
    n_workers=st.integers(1, 6),
    routing=st.sampled_from(ROUTINGS),
    limits=st.builds(
        QueueLimits,
        max_queue_requests=st.integers(1, 12),
        max_queue_tokens=st.integers(1, 40),
        max_batch_tokens=st.integers(1, 12),
    ),
    timeout_s=st.floats(0.01, 2),
    cold_start_s=st.floats(0.01, 0.5),
    detection_s=st.floats(0, 0.5),
    failures=st.lists(
        st.builds(WorkerFailure, at_s=st.floats(0, 1), n_workers=st.integers(1, 6)), max_size=3
    ).map(tuple),
    roll_out=st.none() | st.builds(RollOut, at_s=st.floats(0, 1), n_at_once=st.integers(1, 3)),
)


@given(fleet=FLEETS, load=st.floats(0.1, 4), seed=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_every_request_is_answered_shed_late_or_lost_and_exactly_once(
    fleet: Fleet, load: float, seed: int
) -> None:
    come = _mixed_traffic(300, fleet.n_workers * load, seed)
    told: list[int] = []
    outcome = simulate(fleet, come, seed=seed, on_progress=told.append)
    assert sum(told) == 300
    assert outcome.count(Fate.PENDING) == 0
    assert sum(outcome.count(fate) for fate in Fate) == 300
    assert np.isfinite(outcome.latency_s).sum() == outcome.count(Fate.ANSWERED)
    answered_s = outcome.latency_s[outcome.fates == Fate.ANSWERED]
    assert (answered_s > 0).all()
    assert (answered_s <= fleet.timeout_s + 1e-9).all()
    if not fleet.failures:
        assert outcome.count(Fate.LOST) == 0
    assert 0 <= outcome.utilisation <= 1 + 1e-9


@given(fleet=FLEETS, seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_the_same_seed_gives_the_same_outcome(fleet: Fleet, seed: int) -> None:
    come = _mixed_traffic(200, 2 * fleet.n_workers, seed)
    first, second = (simulate(fleet, come, seed=seed) for _ in range(2))
    assert (first.fates == second.fates).all()
    assert (first.latency_s == second.latency_s).all()


def test_a_worker_more_helps_as_long_as_queues_are_not_empty() -> None:
    service_s = np.random.default_rng(2).lognormal(np.log(MEAN_S), 1, 20_000)
    come = traffic(service_s, 6 * 0.9 / service_s.mean())
    p99 = [
        simulate(
            dataclasses.replace(TEXTBOOK, n_workers=n, routing="least-outstanding"), come, seed=0
        ).percentile_ms(99)
        for n in (6, 7, 8, 10, 14)
    ]
    assert p99 == sorted(p99, reverse=True)


def test_a_request_sent_to_a_dead_worker_is_lost_until_the_router_knows() -> None:
    n = 4000
    come = traffic(np.full(n, 1e-4), rate=1000)
    fleet = Fleet(
        n_workers=4,
        routing="random",
        cold_start_s=2,
        detection_s=0.5,
        failures=(WorkerFailure(at_s=1, n_workers=1),),
    )
    lost = simulate(fleet, come, seed=0).fates == Fate.LOST
    # A quarter of what comes within half a second.
    assert lost.sum() == pytest.approx(125, abs=40)
    at_s = come.arrivals_s[lost]
    assert at_s.min() >= 0.99
    assert at_s.max() <= 1.5
    assert simulate(dataclasses.replace(fleet, detection_s=0), come, seed=0).count(Fate.LOST) <= 1


def test_a_fleet_without_any_worker_sheds_and_comes_back() -> None:
    come = traffic(np.full(3000, 1e-4), rate=1000)
    fleet = Fleet(
        n_workers=2,
        detection_s=0,
        cold_start_s=0.5,
        failures=(WorkerFailure(at_s=1, n_workers=2),),
    )
    outcome = simulate(fleet, come, seed=0)
    shed_s = come.arrivals_s[outcome.fates == Fate.SHED]
    assert 1 <= shed_s.min() <= 1.01
    assert 1.49 <= shed_s.max() <= 1.5
    assert outcome.count(Fate.ANSWERED) >= 2400


@pytest.mark.parametrize("routing", ROUTINGS)
def test_a_roll_out_drops_no_request(routing: Routing) -> None:
    come = traffic(np.random.default_rng(0).exponential(MEAN_S, 8000), rate=8 * 0.5 / MEAN_S)
    fleet = Fleet(
        n_workers=8,
        routing=routing,
        limits=QueueLimits(max_batch_tokens=1),
        timeout_s=1e3,
        cold_start_s=0.2,
        roll_out=RollOut(at_s=1, n_at_once=2),
    )
    outcome = simulate(fleet, come, seed=0)
    assert outcome.count(Fate.ANSWERED) == 8000
    undisturbed = simulate(dataclasses.replace(fleet, roll_out=None), come, seed=0)
    # Every worker was away for a fifth of a second, so others had more to do.
    assert outcome.latency_s.mean() > undisturbed.latency_s.mean()


def test_overload_sheds_what_is_more_than_the_queue_and_answers_the_rest() -> None:
    come = traffic(np.full(5000, MEAN_S), rate=2 / MEAN_S)
    limits = QueueLimits(max_queue_requests=10, max_batch_tokens=1)
    outcome = simulate(Fleet(n_workers=1, limits=limits), come, seed=0)
    assert outcome.share(Fate.ANSWERED) == pytest.approx(0.5, abs=0.02)
    assert outcome.share(Fate.SHED) == pytest.approx(0.5, abs=0.02)
    assert 1e3 * outcome.latency_s[np.isfinite(outcome.latency_s)].max() <= 1e3 * 12 * MEAN_S


def test_bursts_keep_the_rate_and_make_queues_longer() -> None:
    bursts = Bursts(factor=6, mean_s=0.3, period_s=2)
    come_s = in_bursts(500, 200_000, bursts, np.random.default_rng(0))
    assert (np.diff(come_s) >= 0).all()
    assert len(come_s) / come_s[-1] == pytest.approx(500)
    per_tenth = np.bincount((10 * come_s).astype(int))
    # Of a Poisson process the variance of counts is their mean.
    assert per_tenth.var() > 10 * per_tenth.mean()


def test_plain_arrivals_are_as_random_as_poissons() -> None:
    come_s = poisson(500, 100_000, np.random.default_rng(0))
    per_tenth = np.bincount((10 * come_s).astype(int))[:-1]
    assert per_tenth.var() == pytest.approx(per_tenth.mean(), rel=0.1)


@given(seed=st.integers(0, 20), share=st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_traffic_draws_texts_and_flags_as_often_as_asked(seed: int, share: float) -> None:
    come = make_traffic(
        costs(np.array([1.0, 2.0])), rate=10, n=2000, flagged_share=share, bursts=None, seed=seed
    )
    assert come.flagged.mean() == pytest.approx(share, abs=0.06)
    assert (come.costs.level1_s == 1).mean() == pytest.approx(0.5, abs=0.06)


def test_traffic_in_bursts_lasts_for_several_of_them() -> None:
    come = make_traffic(
        costs(np.ones(1)),
        rate=100,
        n=10,
        flagged_share=0,
        bursts=Bursts(factor=2, mean_s=1, period_s=4),
        seed=0,
    )
    assert len(come) == 5 * 4 * 100


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="rate must be positive"):
        make_traffic(costs(np.ones(1)), rate=rate, n=1, flagged_share=0, bursts=None, seed=0)


@pytest.mark.parametrize(
    "bursts",
    [{"factor": 0.5, "mean_s": 1, "period_s": 2}, {"factor": 2, "mean_s": 2, "period_s": 2}],
    ids=["less than between", "all the time"],
)
def test_bursts_that_are_none_are_refused(bursts: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Bursts(**bursts)


@pytest.mark.parametrize("wrong", [{"n_workers": 0}, {"timeout_s": 0.0}, {"cold_start_s": -1.0}])
def test_a_fleet_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(TEXTBOOK, **wrong)  # type: ignore[arg-type] # several fields


def test_runs_vary_as_they_were_measured_to() -> None:
    spread = RunSpread(p5=0.8, p95=1.5, p99=3)
    factors = spread_factor(spread, np.random.default_rng(0).random(100_000))
    assert np.percentile(factors, [5, 50, 95, 99]) == pytest.approx([0.8, 1, 1.5, 3], rel=0.02)
    assert factors.min() == 0.8
    assert factors.max() == 3


@given(
    load=st.floats(0.05, 0.95),
    a=st.floats(0.001, 0.5),
    b=st.floats(0.001, 0.5),
    seed=st.integers(0),
)
def test_a_longer_bound_is_missed_less_often(load: float, a: float, b: float, seed: int) -> None:
    service_s = np.random.default_rng(seed).exponential(MEAN_S, 50)
    rate = load / service_s.mean()
    assert late_share(rate, service_s, min(a, b)) >= late_share(rate, service_s, max(a, b))


@given(rate=st.floats(1, 1e4), bound=st.floats(0.05, 1))
@settings(deadline=None)
def test_the_guess_keeps_the_formula_and_a_worker_less_does_not(rate: float, bound: float) -> None:
    service_s = np.random.default_rng(0).uniform(0.001, 0.04, 200)
    n = guess_workers(rate, service_s, bound)
    assert late_share(rate / n, service_s, bound) <= 0.01
    assert n == 1 or late_share(rate / (n - 1), service_s, bound) > 0.01


def test_a_saturated_queue_waits_for_ever() -> None:
    assert mean_wait_s(101, np.full(10, MEAN_S)) == float("inf")
    assert late_share(101, np.full(10, MEAN_S), 1e9) == 1


def _mixed_traffic(n: int, load: float, seed: int) -> Traffic:
    random = np.random.default_rng(seed)
    service_s = random.exponential(MEAN_S, n)
    return Traffic(
        arrivals_s=poisson(load / MEAN_S, n, random),
        flagged=random.random(n) < 0.3,
        costs=Costs(
            level1_s=service_s,
            level2_s=service_s,
            n_tokens=random.integers(1, 10, n),
            run_level1_s=MEAN_S / 5,
            run_level2_s=MEAN_S / 5,
            spread=NO_SPREAD,
        ),
    )
