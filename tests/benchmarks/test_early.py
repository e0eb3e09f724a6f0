"""The benchmark of early exits: whom it draws, and the tables that it makes."""

from benchmarks.harness.statistics import RoundSpread
from benchmarks.quality.early import (
    EarlyResults,
    SourceTexts,
    TimedTexts,
    _draw,
    _layers,
    early_table,
)
from tests.support.labelled import row
from tests.support.results import toy_header


def _results() -> EarlyResults:
    return EarlyResults(
        header=toy_header(),
        plain="int8-fused",
        early="int8-fused-early",
        n_timed=200,
        rounds=3,
        timed=(
            TimedTexts(texts_per_call=256, times=RoundSpread(median=1.5, least=1.25, greatest=2.0)),
        ),
        decided_after={"2": 50, "3": 70},
        sources=(
            SourceTexts(source="one", n_texts=100, n_flagged=50, n_missed=1, n_left=20),
            SourceTexts(source="two", n_texts=100, n_flagged=0, n_missed=0, n_left=80),
        ),
    )


def test_the_tables_show_times_layers_and_what_each_source_misses() -> None:
    text = early_table(_results())
    assert "| 256 | 1.50 [1.25–2.00] |" in text
    assert "60% left: 25% after 2, 35% after 3 layers" in text
    assert "| one | 100 | 20% | 50 | 1 (2.0%) |" in text
    assert "| two | 100 | 80% | 0 | 0 |" in text
    assert "| all | 200 | 50% | 50 | 1 (2.0%) |" in text


def test_one_text_in_twenty_is_unsafe() -> None:
    rows = [row(i, f"safe {i}", level1="safe") for i in range(500)]
    rows += [row(1000 + i, f"bad {i}", level1="unsafe") for i in range(500)]
    drawn = _draw(rows, 200)
    assert len(drawn) == len(set(drawn)) == 200
    assert sum(text.startswith("bad") for text in drawn) == 10
    assert drawn == _draw(rows, 200)
    assert drawn != sorted(drawn)


def test_layers_count_only_texts_that_left() -> None:
    assert _layers([None, 2, 4, 2]) == {"2": 2, "4": 1}
