"""The corpus benchmark counts rows between commits, without a run's start and end."""

import json
from pathlib import Path

import pytest

from benchmarks.corpus.run import (
    CorpusResults,
    CorpusRound,
    CorpusRun,
    Scaling,
    corpus_table,
    rate_of,
    write_corpus,
)
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.store import load, save
from tests.support.results import toy_header


def run(rows_per_s: float) -> CorpusRun:
    return CorpusRun(
        n_rows=1000,
        rows_per_s=rows_per_s,
        first_part_s=6.5,
        total_s=90,
        driver_rss_bytes=300_000_000,
        actor_rss_bytes=250_000_000,
        ray_rss_bytes=400_000_000,
    )


def results() -> CorpusResults:
    return CorpusResults(
        header=toy_header(threads=1),
        variant="int8",
        n_actors=2,
        n_rows=1000,
        n_bytes=50_000_000,
        rounds=(
            CorpusRound(peak_before=100, peak_after=102, run=run(99)),
            CorpusRound(peak_before=102, peak_after=98, run=run(97)),
        ),
        scaling=(Scaling(one=run(50), two=run(95)),),
    )


def test_a_rate_excludes_the_start_and_rows_of_some_actors_only() -> None:
    # Ten rows per second while both actors work.
    commits = [(20.0, 7), (21.0, 5), (22.0, 10), (23.0, 10), (30.0, 99)]
    assert rate_of(list(reversed(commits)), 2) == 10.0
    assert rate_of([(20.0, 7), (22.0, 10), (24.0, 30)], 1) == 10.0


def test_too_few_parts_have_no_rate() -> None:
    with pytest.raises(WorkerFailed, match="too few"):
        rate_of([(1.0, 5), (2.0, 5)], 2)


def test_the_share_of_the_peak_uses_the_peaks_before_and_after_the_run() -> None:
    first, second = results().rounds
    assert first.share == pytest.approx(99 / 101)
    assert second.share == pytest.approx(0.97)


def test_a_corpus_is_the_same_every_time_and_has_no_text_twice(tmp_path: Path) -> None:
    write_corpus(tmp_path / "a.jsonl", 1000)
    write_corpus(tmp_path / "b.jsonl", 1000)
    content = (tmp_path / "a.jsonl").read_text()
    assert content == (tmp_path / "b.jsonl").read_text()
    rows = [json.loads(line) for line in content.splitlines()]
    assert [row["id"] for row in rows] == list(range(1000))
    assert len({row["text"] for row in rows}) == 1000


def test_results_survive_the_disk_and_make_a_table(tmp_path: Path) -> None:
    save(results(), tmp_path / "corpus.json")
    assert load(CorpusResults, tmp_path / "corpus.json") == results()
    shown = corpus_table(results())
    assert "| 101 [98–102] | 98 [97–99] |" in shown
    assert "| 1000 | 50 [50–50] | 95 [95–95] | 1.90 [1.90–1.90]× |" in shown
