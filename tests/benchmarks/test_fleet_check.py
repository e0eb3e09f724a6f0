"""The plan's check predicts and measures the same texts."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.processors import pinned
from benchmarks.harness.store import RESULTS, load
from benchmarks.plan.check import (
    CheckedTexts,
    bench_checks,
    read_texts,
    saturated_rate,
    shorter,
)
from benchmarks.plan.plots import heavy_tailed_lengths
from benchmarks.plan.results import Pair
from benchmarks.speed.results import SpeedResults
from hazgate.engine.options import EngineOptions
from hazgate.gate import Gate
from hazgate_scale.capacity.service import costs_of
from hazgate_scale.capacity.times import ServiceTimes


@given(predicted=st.floats(0.1, 1e4), measured=st.floats(0.1, 1e4))
def test_an_error_is_a_share_of_the_measurement(predicted: float, measured: float) -> None:
    error = Pair(predicted=predicted, measured=measured).error
    assert error is not None
    assert measured * (1 + error) == pytest.approx(predicted)
    assert Pair(predicted=None, measured=measured).error is None


def test_texts_have_the_lengths_that_the_model_reads(tiny_bundle: Path) -> None:
    gate = Gate.open(tiny_bundle, engine=EngineOptions(threads=1))
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
    texts = CheckedTexts(texts=("a",), lengths=(32,), flagged=(False,))
    # Eight texts of 32 tokens make a batch of 256; runs vary around their median.
    run_s = costs.run_level1_s + 8 * float(costs.level1_s[0])
    assert saturated_rate(costs, texts) == pytest.approx(8 / run_s, rel=0.1)


def test_one_by_one_is_predicted_as_the_sum_of_single_texts() -> None:
    texts = CheckedTexts(texts=("a", "b"), lengths=(16, 1000), flagged=(False, True))
    checks = bench_checks(load(SpeedResults, RESULTS / "mini.json"), texts)
    times = ServiceTimes.of_model("mini")
    costs = costs_of([16, times.windows.window_tokens], times.variants["fp32"], times.windows)
    (one_by_one,) = (c for c in checks if c.variant == "fp32" and "one by one" in c.workload)
    assert one_by_one.texts_per_s.predicted == pytest.approx(2 / costs.alone_s(flagged=False).sum())


def test_a_pinned_block_has_one_processor_and_restores_the_others() -> None:
    before = os.sched_getaffinity(0)
    with pinned({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_simulated_lengths_have_a_heavy_tail() -> None:
    lengths = np.array(heavy_tailed_lengths())
    assert 25 <= np.median(lengths) <= 35
    assert lengths.max() > 30 * np.median(lengths)
    assert lengths.min() >= 3
