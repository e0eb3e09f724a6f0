"""One engine at a time: failures are named, the others are measured."""

from pathlib import Path

import pytest

from benchmarks.engines.compare import EngineSubject
from benchmarks.engines.long import (
    LongComparison,
    LongFigures,
    LongTurn,
    long_figures,
    long_table,
    measure_long,
)
from benchmarks.engines.systems import EngineSpec
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.store import load, save
from hazgate.bundle.bundle import Bundle
from tests.support.results import toy_header


def _spec(name: str) -> EngineSpec:
    return EngineSpec(
        name=name, title=name, kind="pytorch", file="", is_int8=False, size_bytes=0, workers=1
    )


def _engine(name: str) -> LongFigures:
    taken = {
        "pytorch": [
            LongTurn(seconds=8.0, peak_bytes=10**9),
            LongTurn(seconds=12.0, peak_bytes=3 * 10**9),
        ],
        "quick": [LongTurn(seconds=4.0, peak_bytes=10**9), LongTurn(seconds=3.0, peak_bytes=10**9)],
        "dead": [],
    }
    return long_figures(_spec(name), taken, {"dead": "out of memory"})


def test_ratios_are_within_a_round_and_memory_is_the_greatest() -> None:
    quick = _engine("quick")
    assert quick.vs_pytorch is not None
    assert (quick.vs_pytorch.least, quick.vs_pytorch.greatest) == (2.0, 4.0)
    assert _engine("pytorch").peak_rss_bytes == 3 * 10**9


def test_an_engine_that_failed_has_no_figures_but_a_row_that_survives_the_disk(
    tmp_path: Path,
) -> None:
    results = LongComparison(
        header=toy_header("toy"),
        tokens=8192,
        rounds=2,
        engines=tuple(map(_engine, ("pytorch", "quick", "dead"))),
    )
    save(results, tmp_path / "long.json")
    shown = long_table(load(LongComparison, tmp_path / "long.json"))
    assert "| quick | 3.5 [3.0–4.0] | 3.00 [2.00–4.00] | 1.0 |" in shown
    assert "| dead | failed | – | – |" in shown


def test_missing_forms_are_named_with_their_command(tiny_bundle: Path, tmp_path: Path) -> None:
    subject = EngineSubject(
        name="toy",
        level="level2",
        merged=tmp_path / "none",
        bundle=Bundle.open(tiny_bundle),
        forms=tmp_path,
    )
    with pytest.raises(BenchmarkError, match="no engine has a form"):
        measure_long(subject, tokens=8, rounds=1, threads=1, command="")
