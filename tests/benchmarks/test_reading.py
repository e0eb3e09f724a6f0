"""The bodies of the reading benchmark are of the sizes asked for, and its table has each."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness.store import load
from benchmarks.load.bodies import agent, blocks, chat, prompt
from benchmarks.load.reading import ReadingResults, main
from hazgate.serving.bodies.read import read_body


@pytest.mark.parametrize("make", [prompt, chat, agent, blocks])
def test_bodies_have_about_the_size(make: Callable[[int], bytes]) -> None:
    assert 0.9 < len(make(100_000)) / 100_000 < 1.1


@pytest.mark.parametrize("make", [chat, agent, blocks])
def test_a_larger_body_has_more_passages(
    make: Callable[[int], bytes],
) -> None:
    small, large = make(20_000), make(80_000)
    n_small, n_large = (
        len(read_body({"content-type": "application/json"}, body, "request").passages)
        for body in (small, large)
    )
    assert n_large > 2 * n_small - 50 > 0


def test_the_table_has_a_line_for_each_body_and_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.load.reading._SIZES_BYTES", (5_000, 10_000))
    monkeypatch.setattr("benchmarks.load.reading.RESULTS", tmp_path)
    result = CliRunner().invoke(main, ["--rounds", "2"])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 8
    assert {row.count("|") for row in rows} == {8}
    results = load(ReadingResults, tmp_path / "reading.json")
    assert all(body.read_ms.median > 0 for body in results.bodies)
