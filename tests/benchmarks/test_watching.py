"""The benchmark of watching reads a text once by a check and once by a watch, and compares both."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.store import RESULTS, load
from benchmarks.load.watching import WatchingResults, main, prose, watched
from hazgate import Gate
from hazgate.engine.options import EngineOptions


def test_a_text_has_the_size_asked_for_and_does_not_repeat_itself() -> None:
    text = prose(10_000)
    assert len(text) == 10_000
    assert prose(20_000).startswith(text)
    sentences = text.split(". ")
    assert len(set(sentences)) == len(sentences)


def test_a_line_per_size_says_how_much_longer_a_watch_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Path
) -> None:
    monkeypatch.setattr("benchmarks.load.watching.RESULTS", tmp_path)
    sizes = ["--bytes", "2000", "--bytes", "4000"]
    result = CliRunner().invoke(main, [str(tiny_bundle), *sizes, "--repeats", "2"])
    assert result.exit_code == 0, result.output
    results = load(WatchingResults, tmp_path / "watching.json")
    assert [each.n_bytes for each in results.texts] == [2000, 4000]
    assert all(each.n_checks > 1 and each.ratio > 0 for each in results.texts)
    assert len([line for line in result.output.splitlines() if line.startswith("|")]) == 2 + 2


@pytest.mark.results
def test_a_committed_watch_takes_at_most_twice_the_time_of_a_check() -> None:
    results = load(WatchingResults, RESULTS / "watching.json")
    assert [each.n_bytes for each in results.texts] == [1 << 17, 1 << 20]
    assert all(each.ratio <= 2 for each in results.texts)


def test_a_text_that_is_flagged_is_no_measurement(tiny_bundle: Path) -> None:
    gate = Gate.open(tiny_bundle, engine=EngineOptions(threads=1), threshold=1e-9)
    with pytest.raises(BenchmarkError, match="flags"):
        watched(gate, prose(500), 100)
