"""One engine at a time: what fails is said, the rest is measured."""

from pathlib import Path

import pytest

from benchmarks.engines.compare import Subject
from benchmarks.engines.long import (
    LongComparison,
    LongFigures,
    _figures,
    _Turn,
    long_table,
    measure_long,
)
from benchmarks.engines.systems import EngineSpec
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.machine import Machine
from benchmarks.harness.store import load, save
from hazgate.bundle.bundle import Bundle

MACHINE = Machine(
    cpu="toy", isa=(), processors=2, memory_gb=1.0, is_virtual=False, os="toy", versions={}
)


def _spec(name: str) -> EngineSpec:
    return EngineSpec(
        name=name, title=name, kind="pytorch", file="", is_int8=False, size_bytes=0, workers=1
    )


def _engine(name: str) -> LongFigures:
    taken = {
        "pytorch": [
            _Turn(seconds=8.0, peak_bytes=10**9),
            _Turn(seconds=12.0, peak_bytes=3 * 10**9),
        ],
        "quick": [_Turn(seconds=4.0, peak_bytes=10**9), _Turn(seconds=3.0, peak_bytes=10**9)],
        "dead": [],
    }
    return _figures(_spec(name), taken, {"dead": "out of memory"})


def test_ratios_are_within_a_round_and_memory_is_the_greatest() -> None:
    quick = _engine("quick")
    assert quick.vs_pytorch is not None
    assert (quick.vs_pytorch.least, quick.vs_pytorch.greatest) == (2.0, 4.0)
    assert _engine("pytorch").peak_rss_bytes == 3 * 10**9


def test_an_engine_that_failed_has_no_figures_but_a_row_that_survives_the_disk(
    tmp_path: Path,
) -> None:
    results = LongComparison(
        schema_version=1,
        name="toy",
        bundle_digest="0" * 64,
        date="2026-01-01",
        command="make toy",
        machine=MACHINE,
        threads=2,
        tokens=8192,
        rounds=2,
        engines=tuple(map(_engine, ("pytorch", "quick", "dead"))),
    )
    save(results, tmp_path / "long.json")
    shown = long_table(load(LongComparison, tmp_path / "long.json"))
    assert "| quick | 3.5 [3.0–4.0] | 3.00 [2.00–4.00] | 1.0 |" in shown
    assert "| dead | failed | – | – |" in shown


def test_forms_that_were_not_written_are_asked_for(tiny_bundle: Path, tmp_path: Path) -> None:
    subject = Subject(
        name="toy",
        level="level2",
        merged=tmp_path / "none",
        bundle=Bundle.open(tiny_bundle),
        forms=tmp_path,
    )
    with pytest.raises(BenchmarkError, match="no engine has a form"):
        measure_long(subject, tokens=8, rounds=1, threads=1, command="")
