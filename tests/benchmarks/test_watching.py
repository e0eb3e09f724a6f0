"""The benchmark of watching reads a text once by a check and once by a watch, and compares both."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness.errors import BenchmarkError
from benchmarks.load.watching import main, prose, watched
from hazgate import Gate
from hazgate.engine.options import EngineOptions


def test_a_text_has_the_size_asked_for_and_does_not_repeat_itself() -> None:
    text = prose(10_000)
    assert len(text) == 10_000
    assert prose(20_000).startswith(text)
    sentences = text.split(". ")
    assert len(set(sentences)) == len(sentences)


def test_a_line_per_size_says_how_much_longer_a_watch_takes(tiny_bundle: Path) -> None:
    sizes = ["--bytes", "2000", "--bytes", "4000"]
    result = CliRunner().invoke(main, [str(tiny_bundle), *sizes, "--repeats", "2"])
    assert result.exit_code == 0, result.output
    head, *lines = (line.split("\t") for line in result.output.splitlines())
    assert [line[0] for line in lines] == ["2000", "4000"]
    for line in lines:
        assert len(line) == len(head)
        assert int(line[2]) > 1
        assert float(line[5]) > 0


def test_a_text_that_is_flagged_is_no_measurement(tiny_bundle: Path) -> None:
    gate = Gate.open(tiny_bundle, engine=EngineOptions(threads=1), threshold=1e-9)
    with pytest.raises(BenchmarkError, match="flags"):
        watched(gate, prose(500), 100)
