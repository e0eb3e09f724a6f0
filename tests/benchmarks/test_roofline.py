"""The roofline's table and plot say what its results say, by numbers that are checked by hand."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.engines.results import EngineComparison
from benchmarks.engines.roofline.nodes import STEPS
from benchmarks.engines.roofline.report import ceiling_table, draw_roofline, roofline_table
from benchmarks.engines.roofline.results import Roofline, StepTimes
from benchmarks.harness.store import RESULTS, SCHEMA_VERSION, load, save
from tests.support.machines import TOY

PEAKS = {"int8": 2e12, "fp32": 5e11, "memory": 5e10}


def _results() -> Roofline:
    return Roofline(
        schema_version=SCHEMA_VERSION,
        date="2026-01-01",
        command="make toy",
        machine=TOY,
        threads=2,
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
def test_a_window_counts_the_pairs_that_it_sees(tokens: int, pairs: int) -> None:
    local = next(step for step in STEPS if step.window is not None)
    assert local.operations(tokens) == 4 * 768 * pairs


def test_a_product_counts_a_multiplication_and_an_addition_for_each_weight() -> None:
    qkv = STEPS[0]
    assert qkv.operations(2) == 2 * 2 * 768 * 2304
    assert qkv.moved_bytes(1) == 768 * 2304 + 4 * (768 + 2304)


def test_the_ceiling_is_what_bare_loops_leave_of_the_best_peers_time() -> None:
    results = dataclasses.replace(_results(), peaks={"int8": 1e12, "fp32": 1e11, "memory": 1e10})
    engines = load(EngineComparison, RESULTS / "engines-full.json")
    line = next(row for row in ceiling_table(results, engines).splitlines() if "| 128 |" in row)
    # 110 million weights for 128 tokens, and attention among those.
    products = 2 * 128 * engines.shape.macs_per_token / 1e12
    attention = 4 * 128 * 768 * (8 * 128 + 14 * 128) / 1e11
    assert line.startswith(f"| 128 | {1e3 * (products + attention):.3g} |")
