"""A soak counts growth once memory has settled, and every request once."""

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.store import load, save
from benchmarks.load.soak import (
    SoakResults,
    SoakSample,
    growth_of,
    mixed_texts,
    sample_of,
    soak_figure,
    soak_table,
)
from tests.support.results import toy_header


def sample(at_s: float, rss_bytes: int) -> SoakSample:
    return SoakSample(at_s=at_s, rss_bytes=rss_bytes, answered=100, failed=1, late=2)


def results(*samples: SoakSample) -> SoakResults:
    return SoakResults(
        header=toy_header(),
        variant="int8",
        deadline_s=0.5,
        rate=10.0,
        load=0.5,
        median_tokens=30,
        longest_tokens=900,
        samples=samples,
    )


def test_growth_starts_at_the_end_of_the_first_minute() -> None:
    samples = [sample(10, 1), sample(60, 100), sample(70, 150), sample(120, 110)]
    growth = growth_of(samples)
    assert growth is not None
    assert math.isclose(growth, 0.1)


def test_a_run_of_one_minute_has_no_growth() -> None:
    assert growth_of([sample(10, 1), sample(60, 2)]) is None
    assert growth_of([]) is None


def test_every_request_is_counted_once() -> None:
    found = sample_of([0.1, math.nan, None, 0.2], 10, 7)
    assert (found.answered, found.failed, found.late, found.rss_bytes) == (2, 1, 1, 7)


@given(n=st.integers(1, 80), seed=st.integers(0, 99))
def test_a_seed_gives_the_same_texts_and_as_many_as_requested(n: int, seed: int) -> None:
    texts = mixed_texts(["a", "b"], n, seed)
    assert len(texts) == n
    assert texts == mixed_texts(["a", "b"], n, seed)
    assert all(set(text.split()) <= {"a", "b"} for text in texts)


def test_texts_have_many_lengths_and_most_are_short() -> None:
    lengths = sorted(len(text.split()) for text in mixed_texts(["a"], 500, 0))
    assert len(set(lengths)) >= 4
    assert lengths[250] <= 4 < lengths[-1]


def test_results_survive_the_disk_and_make_a_table_and_a_figure(tmp_path: Path) -> None:
    run = results(sample(60, 100_000_000), sample(120, 102_000_000))
    save(run, tmp_path / "soak.json")
    assert load(SoakResults, tmp_path / "soak.json") == run
    assert "| 2 | 206 | 200 | 4 | 2 | 100.0 | 102.0 | +2.0% |" in soak_table(run)
    assert len(soak_figure(run).axes) == 1


def test_a_short_run_has_a_table_without_growth() -> None:
    assert "| – |" in soak_table(results(sample(10, 1_000_000)))
