"""The check compares like with like, and its committed result keeps what the plan promises."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.store import RESULTS, Comparison, load
from benchmarks.plan.check import Texts, bench_checks, pinned, read_texts, saturated_rate, shorter
from benchmarks.plan.plots import FleetPlots, draw, heavy_tailed_lengths, plots_table
from benchmarks.plan.results import LIMIT, FleetResults, Pair, fleet_figure, fleet_table
from hazgate.gate import Gate
from hazgate_scale.capacity.service import costs_of
from hazgate_scale.capacity.times import ServiceTimes

# Whoever asks is on the same processors, and takes a share of them.
LIMIT_WITH_ASKERS = 0.25


@pytest.fixture(scope="module")
def committed() -> FleetResults:
    return load(FleetResults, RESULTS / "fleet-mini.json")


def test_what_make_bench_measured_is_predicted_within_the_promise(
    committed: FleetResults,
) -> None:
    assert committed.bench_error <= LIMIT


def test_workers_with_a_processor_each_are_predicted_but_for_what_asking_takes(
    committed: FleetResults,
) -> None:
    assert committed.saturation_error <= LIMIT_WITH_ASKERS


def test_the_committed_check_is_of_the_service_times_that_come_with_the_wheel(
    committed: FleetResults,
) -> None:
    """What is checked against `make bench` follows from files that are committed, too."""
    assert {one.variant for one in committed.bench} == set(ServiceTimes.of_model("mini").variants)
    bench = load(Comparison, RESULTS / "mini.json")
    assert bench.bundle_digest == committed.bundle_digest


def test_the_table_and_the_figure_are_made_of_the_committed_results(
    committed: FleetResults, tmp_path: Path
) -> None:
    text = fleet_table(committed)
    assert f"{committed.bench_error:.0%} of what `make bench` measured" in text
    assert committed.command in text
    fleet_figure(committed).savefig(tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").stat().st_size > 0


@given(predicted=st.floats(0.1, 1e4), measured=st.floats(0.1, 1e4))
def test_an_error_is_a_share_of_what_was_measured(predicted: float, measured: float) -> None:
    error = Pair(predicted=predicted, measured=measured).error
    assert error is not None
    assert measured * (1 + error) == pytest.approx(predicted)
    assert Pair(predicted=None, measured=measured).error is None


def test_texts_are_told_by_the_lengths_that_the_model_reads(tiny_bundle: Path) -> None:
    gate = Gate.open(tiny_bundle, threads=1)
    texts = ["word", "word " * 20, "word " * 400]
    found = read_texts(gate, texts)
    asked = gate.ask(texts)
    assert found.lengths[:2] == (asked[0].n_tokens, asked[1].n_tokens)
    assert found.lengths[2] > 400
    assert found.flagged == tuple(verdict.flagged for verdict in gate.check_many(texts))
    assert shorter(found, found.lengths[1]).texts == found.texts[:2]


def test_a_saturated_worker_answers_as_fast_as_full_batches_run() -> None:
    times = ServiceTimes.of_model("mini")
    variant = times.variants["int8-fused"]
    costs = costs_of([32], variant, times.windows)
    texts = Texts(texts=("a",), lengths=(32,), flagged=(False,))
    # Eight texts of 32 tokens make a batch of 256; runs vary around their median.
    run_s = costs.run_gate_s + 8 * float(costs.gate_s[0])
    assert saturated_rate(costs, texts) == pytest.approx(8 / run_s, rel=0.1)


def test_one_by_one_is_predicted_as_the_sum_of_texts_by_themselves() -> None:
    texts = Texts(texts=("a", "b"), lengths=(16, 1000), flagged=(False, True))
    checks = bench_checks(load(Comparison, RESULTS / "mini.json"), texts)
    times = ServiceTimes.of_model("mini")
    costs = costs_of([16, times.windows.window_tokens], times.variants["fp32"], times.windows)
    (one_by_one,) = (c for c in checks if c.variant == "fp32" and "one by one" in c.workload)
    assert one_by_one.texts_per_s.predicted == pytest.approx(2 / costs.alone_s(flagged=False).sum())


def test_a_pinned_block_has_one_processor_and_gives_the_others_back() -> None:
    before = os.sched_getaffinity(0)
    with pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_the_pages_figures_and_tables_are_made_of_the_committed_results(tmp_path: Path) -> None:
    results = load(FleetPlots, RESULTS / "fleet-plots.json")
    assert results.command in plots_table(results)
    assert all(file.stat().st_size > 0 for file in draw(results, tmp_path))


def test_simulated_lengths_have_a_heavy_tail() -> None:
    lengths = np.array(heavy_tailed_lengths())
    assert 25 <= np.median(lengths) <= 35
    assert lengths.max() > 30 * np.median(lengths)
    assert lengths.min() >= 3


def test_more_texts_take_more_workers_and_bursts_no_fewer() -> None:
    sizes = load(FleetPlots, RESULTS / "fleet-plots.json").sizes
    by = {(one.rate, one.bound_ms, one.has_bursts): one.n_workers for one in sizes}
    for (rate, bound_ms, has_bursts), n_workers in by.items():
        # A search ends within a hundredth.
        assert 0.98 * n_workers <= by[rate, bound_ms, True]
        same = {r: n for (r, b, h), n in by.items() if (b, h) == (bound_ms, has_bursts)}
        assert all(n > n_workers for r, n in same.items() if r > rate)
