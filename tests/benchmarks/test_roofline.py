"""The roofline's tables and plot follow from results that are checked by hand."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.engines.results import (
    EngineComparison,
    EngineFigures,
    EngineRound,
    ModelShape,
    WorkloadOfEngines,
)
from benchmarks.engines.roofline.nodes import STEPS
from benchmarks.engines.roofline.report import ceiling_table, draw_roofline, roofline_table
from benchmarks.engines.roofline.results import Roofline, StepTimes
from benchmarks.harness.store import load, save
from tests.support.results import toy_header

PEAKS = {"int8": 2e12, "fp32": 5e11, "memory": 5e10}


def _results() -> Roofline:
    return Roofline(
        header=toy_header("toy"),
        instruction_set="portable",
        peaks=PEAKS,
        node_us=4.0,
        steps=tuple(
            StepTimes(
                name=step.name,
                title=step.title,
                kind=step.kind,
                tokens=64,
                ours_ms=2.0,
                onnxruntime_ms=3.0,
                operations=2e9,
                moved_bytes=1e6,
            )
            for step in STEPS
        ),
    )


def test_a_steps_bound_is_its_operations_or_its_bytes() -> None:
    results = _results()
    linear, attention = (
        next(s for s in results.steps if s.kind == kind) for kind in ("linear", "attention")
    )
    assert results.bound_ms(linear) == pytest.approx(1.0)
    assert results.bound_ms(attention) == pytest.approx(4.0)


def test_the_table_gives_time_ratio_and_share(tmp_path: Path) -> None:
    save(_results(), tmp_path / "roofline.json")
    table = roofline_table(load(Roofline, tmp_path / "roofline.json"))
    assert "| norm, Q, K and V | 2 (1.50×, 50%) |" in table
    assert "int8 2000 G/s" in table
    # Five nodes of 4 µs in five operators of 2 ms.
    assert "A node of a graph costs 4 µs" in table
    assert "0.2% of a layer's time at 64 tokens" in table
    draw_roofline(_results(), tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").stat().st_size > 10_000


@pytest.mark.parametrize(("tokens", "pairs"), [(1, 1), (64, 64 * 64), (200, 200 * 129 - 64 * 65)])
def test_a_window_counts_its_pairs(tokens: int, pairs: int) -> None:
    local = next(step for step in STEPS if step.window is not None)
    assert local.operations(tokens) == 4 * 768 * pairs


def test_a_product_counts_a_multiplication_and_an_addition_per_weight() -> None:
    qkv = STEPS[0]
    assert qkv.operations(2) == 2 * 2 * 768 * 2304
    assert qkv.moved_bytes(1) == 768 * 2304 + 4 * (768 + 2304)


def _engine(name: str, ms: float) -> tuple[EngineFigures, EngineRound]:
    figures = EngineFigures(
        name=name,
        title=name,
        is_int8=name != "pytorch",
        size_bytes=1,
        load_s=1.0,
        loaded_rss_bytes=1,
        peak_rss_bytes=1,
        quality=None,
        failure=None,
    )
    return figures, EngineRound(round=0, workload="1x128", engine=name, seconds=(ms / 1e3,))


def test_the_ceiling_compares_the_bare_loops_with_the_best_peer() -> None:
    results = dataclasses.replace(_results(), peaks={"int8": 1e12, "fp32": 1e11, "memory": 1e10})
    shape = ModelShape(macs_per_token=110_000_000, hidden=768, n_global=8, n_local=14, reach=64)
    times = {"pytorch": 200.0, "peer-int8": 60.0, "hazgate-int8-fused": 40.0}
    measured = [_engine(name, ms) for name, ms in times.items()]
    engines = EngineComparison(
        header=toy_header("toy"),
        level="level2",
        shape=shape,
        peak={"fp32": 1e11, "int8": 1e12},
        workloads=(
            WorkloadOfEngines(name="1x128", kind="grid", n_texts=1, tokens=128, padded_share=0.0),
        ),
        engines=tuple(figures for figures, _ in measured),
        rounds=tuple(rounds for _, rounds in measured),
    )
    line = ceiling_table(results, engines).splitlines()[-1]
    # 110 million weights for 128 tokens, and attention among those.
    products = 2 * 128 * 110e6 / 1e12
    attention = 4 * 128 * 768 * (8 * 128 + 14 * 128) / 1e11
    least_ms = 1e3 * (products + attention)
    assert line == (
        f"| 128 | {least_ms:.3g} | 40 | {least_ms / 40:.0%} | peer-int8, 60 | "
        f"{60 / least_ms:.2f}× | 1.50× |"
    )
