"""ONNX Runtime accepts every change of a session option, and each is measured."""

from pathlib import Path

import pytest

from benchmarks.engines import session_options
from benchmarks.engines.session_options import (
    CHANGES,
    OptionComparison,
    OptionFigures,
    measure_row,
    option_table,
)
from benchmarks.harness.statistics import spread
from tests.support.results import toy_header


@pytest.mark.parametrize("name", list(CHANGES))
def test_every_row_is_measured(
    mini_bundle: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(session_options, "_N_CALLS", 3)
    monkeypatch.setattr(session_options, "_N_STREAM", 3)
    row = measure_row(mini_bundle / "level2-int8.onnx", name, threads=1)
    assert min(row["short_ms"], row["long_ms"]) > 0
    assert row["cpu_per_wall"] > 0
    assert row["rss_bytes"] > 1_000_000


def test_a_row_shows_its_medians() -> None:
    figures = OptionFigures(
        name="threads do not spin",
        short_ms=spread([1.0, 2.0, 9.0]),
        long_ms=spread([8.0]),
        speedup_short=spread([0.5]),
        cpu_per_wall=spread([0.1]),
        rss_bytes=spread([3e6]),
    )
    results = OptionComparison(
        header=toy_header("toy"),
        graph="level2-int8.onnx",
        rows=(figures,),
    )
    assert "| threads do not spin | 2.00 | 8.00 | 0.50 | 0.10 | 3 |" in option_table(results)
