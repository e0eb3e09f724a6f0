"""The engines' tables follow from the rounds; workloads have the sizes that they claim."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engines.compare import WORKER
from benchmarks.engines.plot import draw_engines
from benchmarks.engines.report import (
    best_int8_peer,
    cells_of,
    headline,
    ratio_table,
    stream_table,
    summary,
)
from benchmarks.engines.results import (
    EngineComparison,
    EngineFigures,
    EngineQuality,
    EngineRound,
    ModelShape,
    WorkloadOfEngines,
)
from benchmarks.engines.systems import EngineSetup, EngineSpec, open_engine
from benchmarks.engines.workloads import batches_of, grid, padded_share, stream
from benchmarks.harness.runner import TimedCase, run_turns, start_system
from benchmarks.harness.store import load, save
from tests.support.results import toy_header

SHAPE = ModelShape(macs_per_token=100, hidden=4, n_global=1, n_local=2, reach=1)


def _engine(
    name: str, *, is_int8: bool, title: str = "", changed: int | None = None
) -> EngineFigures:
    return EngineFigures(
        name=name,
        title=title or name,
        is_int8=is_int8,
        size_bytes=1_000_000,
        load_s=1.0,
        loaded_rss_bytes=2_000_000,
        peak_rss_bytes=3_000_000,
        quality=None
        if changed is None
        else EngineQuality(
            p50_abs_logit_diff=0.0,
            p99_abs_logit_diff=0.0,
            max_abs_logit_diff=0.0,
            decisions_changed=changed,
            n_texts=100,
        ),
        failure=None,
    )


def _rounds(workload: str, engine: str, *medians_s: float) -> list[EngineRound]:
    return [
        EngineRound(round=i, workload=workload, engine=engine, seconds=(s, s, s))
        for i, s in enumerate(medians_s)
    ]


@pytest.fixture
def results() -> EngineComparison:
    """Return rounds in which ours is 4 times as fast as PyTorch, 1.5 times as the best peer."""
    return EngineComparison(
        header=toy_header("toy"),
        level="level2",
        shape=SHAPE,
        peak={"fp32": 1e6, "int8": 4e6},
        workloads=(
            WorkloadOfEngines(name="1x8", kind="grid", n_texts=1, tokens=8, padded_share=0.0),
            WorkloadOfEngines(name="p", kind="padded", n_texts=10, tokens=None, padded_share=0.5),
            WorkloadOfEngines(name="q", kind="planned", n_texts=10, tokens=None, padded_share=0.0),
        ),
        engines=(
            _engine("pytorch", is_int8=False),
            _engine("slow-int8", is_int8=True, changed=2),
            _engine("quick-int8", is_int8=True, changed=50),
            _engine("hazgate-int8", is_int8=True, title="hazgate int8", changed=2),
            _engine("hazgate-int8-workers", is_int8=True, title="hazgate int8, 2 workers"),
            replace(_engine("absent", is_int8=False), failure="not installed\nat all"),
        ),
        rounds=(
            *_rounds("1x8", "pytorch", 0.004, 0.008, 0.016),
            *_rounds("1x8", "slow-int8", 0.002, 0.002, 0.002),
            *_rounds("1x8", "quick-int8", 0.0015, 0.001, 0.009),
            *_rounds("1x8", "hazgate-int8", 0.001, 0.001, 0.004),
            *_rounds("p", "hazgate-int8", 1.0, 1.0, 1.0),
            *_rounds("q", "hazgate-int8", 0.5, 0.5, 0.5),
            *_rounds("q", "hazgate-int8-workers", 0.4, 0.4, 0.4),
        ),
    )


def test_ratios_are_medians_of_the_ratios_within_each_round(results: EngineComparison) -> None:
    cells = {(c.engine.name, c.workload.name): c for c in cells_of(results)}
    ours = cells["hazgate-int8", "1x8"]
    assert ours.vs_pytorch is not None
    assert ours.vs_best_int8_peer is not None
    assert ours.vs_pytorch.median == pytest.approx(4.0)
    assert ours.vs_best_int8_peer.median == pytest.approx(1.5)


def test_the_best_peer_is_the_quickest_int8_engine_that_is_not_ours(
    results: EngineComparison,
) -> None:
    assert best_int8_peer(results, results.workloads[0]) == "quick-int8"
    assert "quick-int8" in ratio_table(results)


def test_a_peer_that_changes_more_labels_is_not_an_equal_peer(results: EngineComparison) -> None:
    ours = next(e for e in results.engines if e.name == "hazgate-int8")
    assert best_int8_peer(results, results.workloads[0], as_exact_as=ours) == "slow-int8"
    cells = {(c.engine.name, c.workload.name): c for c in cells_of(results)}
    equal = cells["hazgate-int8", "1x8"].vs_best_equal_int8_peer
    assert equal is not None
    assert equal.median == pytest.approx(2.0)


def test_the_share_of_the_peak_counts_needed_operations_of_the_own_precision(
    results: EngineComparison,
) -> None:
    cells = {(c.engine.name, c.workload.name): c for c in cells_of(results)}
    ours = cells["hazgate-int8", "1x8"]
    # 8 tokens; keys: 8 in the global layer, 3 of a window in each of the two local ones.
    operations = 2 * 8 * (100 + 2 * 4 * (8 + 2 * 3))
    assert SHAPE.operations(8) == operations
    assert ours.share_of_peak == pytest.approx(operations / 0.001 / 4e6)


def test_the_headline_has_each_engines_time_speedup_and_changed_labels(
    results: EngineComparison,
) -> None:
    lines = headline(results).splitlines()
    (ours,) = (line for line in lines if line.startswith("| hazgate int8 |"))
    assert ours == "| hazgate int8 | 1.0 (4.00×) | 1 | 3 | 2 of 100 |"
    # Engines that never ran one text alone are in the other tables only.
    assert not any("workers" in line or "absent" in line for line in lines)


def test_a_stream_is_compared_with_the_same_graph_padded(results: EngineComparison) -> None:
    lines = stream_table(results).splitlines()
    planned, workers = (line for line in lines if "equal lengths" in line)
    assert planned.endswith("| 20.0 | 2.00 |")
    assert workers.endswith("| 25.0 | 2.50 |")


def test_an_engine_that_failed_is_named_with_its_reason(results: EngineComparison) -> None:
    assert "- absent: not installed" in summary(results)


def test_results_and_their_figure_survive_the_disk(
    results: EngineComparison, tmp_path: Path
) -> None:
    save(results, tmp_path / "results.json")
    again = load(EngineComparison, tmp_path / "results.json")
    assert again == results
    draw_engines(again, tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


@given(n_texts=st.integers(1, 200))
def test_a_planned_stream_has_every_text_of_the_padded_one_and_no_padding(n_texts: int) -> None:
    padded, planned, packed = stream(n_texts)

    def rows(workload: object) -> list[list[int]]:
        return sorted(
            ids[mask == 1].tolist()
            for batch in batches_of(workload, 900)  # type: ignore[arg-type]
            for ids, mask in zip(*batch, strict=True)
        )

    assert rows(padded) == rows(planned) == rows(packed)
    assert padded_share(planned) == padded_share(packed) == 0
    assert padded_share(padded) > 0 or n_texts < 8


def test_a_grid_has_each_length_alone_before_the_batches() -> None:
    made = grid((16, 32), ((8, 16),))
    assert [(w.n_texts, w.tokens) for w in made] == [(1, 16), (1, 32), (8, 16)]
    ((ids, mask),) = batches_of(made[-1], 900)
    assert ids.shape == mask.shape == (8, 16)


def _our_engine(bundle: Path, workers: int) -> EngineSpec:
    return EngineSpec(
        name="hazgate-fp32",
        title="hazgate fp32",
        kind="hazgate",
        file=str(bundle / "level1-fp32.onnx"),
        is_int8=False,
        size_bytes=7,
        workers=workers,
    )


def test_our_engine_is_the_runtimes_own_session(tiny_bundle: Path) -> None:
    ((ids, mask),) = batches_of(grid((8,), ())[0], 600)
    engine = open_engine(_our_engine(tiny_bundle, workers=2), threads=2)
    assert engine(ids, mask).shape == (1, 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_runner_runs_an_engine_in_a_process_of_its_own(tiny_bundle: Path, workers: int) -> None:
    workloads = grid((8,), ((4, 16),))
    setup = EngineSetup(
        engine=_our_engine(tiny_bundle, workers),
        threads=1,
        vocab_size=600,
        workloads=workloads,
        rows=((1, 2, 3), (4, 5)),
    )
    with ExitStack() as stack:
        system = start_system(stack, "ours", WORKER, setup, threads=1)
        assert system.loaded.size_bytes == 7
        assert system.start_s > system.loaded.load_s > 0
        assert system.logits().shape == (2, 2)
        taken = [
            (turn.workload, turn.round, len(seconds))
            for turn, seconds in run_turns(
                {"ours": system},
                [workload.name for workload in workloads],
                lambda turn: (
                    TimedCase(workload=turn.workload, n_warm=1, n_calls=3) if turn.round else None
                ),
                rounds=2,
                seed=0,
                title="test",
            )
        ]
        assert taken == [("1x8", 1, 3), ("4x16", 1, 3)]
        assert system.memory().peak_bytes >= system.loaded.rss_bytes
