"""Costs of texts: monotone, within the measured range, cut as the tokenizer cuts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.errors import InputError
from hazgate.text.tokenization import Tokenizer
from hazgate_scale.capacity.service import costs_of, row_s, rows_of, run_s
from hazgate_scale.capacity.times import LevelTimes, Point, ServiceTimes, Windows, parse_times
from tests.support.planning import times_document
from tests.support.tokenizers import windows_spec, write_word_tokenizer


@pytest.fixture(scope="module")
def times() -> ServiceTimes:
    return parse_times(json.dumps(times_document()).encode(), "times.json")


LEVELS = st.lists(st.tuples(st.integers(1, 200), st.floats(0.01, 50)), min_size=2, max_size=8).map(
    lambda steps: LevelTimes(
        points=tuple(
            Point(tokens=int(tokens), ms=float(ms))
            for tokens, ms in zip(
                np.cumsum([t for t, _ in steps]), np.cumsum([ms for _, ms in steps]), strict=True
            )
        ),
        source="a test",
    )
)


@given(level=LEVELS, a=st.integers(1, 2000), b=st.integers(1, 2000))
def test_a_longer_row_never_takes_less(level: LevelTimes, a: int, b: int) -> None:
    shorter, longer = row_s(level, sorted([a, b]))
    assert shorter <= longer


@given(level=LEVELS)
def test_measured_rows_take_what_was_measured(level: LevelTimes) -> None:
    found = row_s(level, [point.tokens for point in level.points])
    assert found == pytest.approx([point.ms / 1e3 for point in level.points])


def test_a_row_shorter_than_any_takes_what_the_shortest_took(times: ServiceTimes) -> None:
    level = times.variants["int8-fused"].level1
    assert row_s(level, [1]) == pytest.approx([1e-3])


@given(level=LEVELS)
def test_a_run_takes_no_more_than_its_shortest_row(level: LevelTimes) -> None:
    document = parse_times(json.dumps(times_document()).encode(), "t").variants["int8-fused"]
    assert 0 <= run_s(level, document) <= level.points[0].ms / 1e3 + 1e-12


def test_only_packed_rows_share_a_run(times: ServiceTimes) -> None:
    variant = times.variants["int8-fused"]
    # From 8 to 64 tokens a token takes a sixteenth of a millisecond.
    assert run_s(variant.level1, variant) == pytest.approx(0.5e-3)
    assert run_s(variant.level1, replace(variant, batching="equal_length")) == 0


@given(lengths=st.lists(st.integers(1, 3000), min_size=2, max_size=20))
def test_a_longer_text_never_costs_less(lengths: list[int]) -> None:
    times = parse_times(json.dumps(times_document()).encode(), "t")
    lengths = sorted(lengths)
    costs = costs_of(lengths, times.variants["int8-fused"], times.windows)
    assert (np.diff(costs.n_tokens) >= 0).all()
    assert (np.diff(costs.alone_s(flagged=True)) >= -1e-12).all()


def test_costs_are_in_the_order_of_the_lengths(times: ServiceTimes) -> None:
    costs = costs_of([128, 8, 64, 8], times.variants["int8-fused"], times.windows)
    assert costs.n_tokens.tolist() == [128, 8, 64, 8]
    assert 1e3 * costs.alone_s(flagged=False) == pytest.approx([10.1, 1.1, 4.6, 1.1])
    assert 1e3 * costs.alone_s(flagged=True) == pytest.approx([20.1, 2.1, 9.1, 2.1])


def test_rows_longer_than_any_measured_are_refused_with_the_cure(times: ServiceTimes) -> None:
    wide = replace(times.windows, window_tokens=512)
    with pytest.raises(InputError, match=r"up to 300 tokens .* 128; measure longer"):
        costs_of([300], times.variants["int8-fused"], wide)
    assert costs_of([300], times.variants["int8-fused"], times.windows).n_tokens[0] > 300


@pytest.mark.parametrize("lengths", [[], [0], [5, -1]], ids=["none", "empty", "negative"])
def test_lengths_that_are_none_are_refused(times: ServiceTimes, lengths: list[int]) -> None:
    with pytest.raises(InputError):
        costs_of(lengths, times.variants["int8-fused"], times.windows)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_word_tokenizer(tmp_path_factory.mktemp("words") / "tokenizer.json")


@given(
    n_words=st.integers(0, 120),
    window=st.integers(6, 40),
    overlap=st.integers(0, 3),
    close=st.none() | st.integers(3, 5),
    close_from=st.none() | st.integers(6, 40),
)
def test_texts_are_cut_into_rows_as_the_tokenizer_cuts_them(
    words: Path, n_words: int, window: int, overlap: int, close: int | None, close_from: int | None
) -> None:
    start = None if close is None else close_from
    spec = windows_spec(window, overlap, close_tokens=close, sentences_from_tokens=start)
    (tokens,) = Tokenizer(words, spec).encode(["good " * n_words])
    windows = Windows(
        special_tokens=2,
        window_tokens=window,
        overlap_tokens=overlap,
        close_tokens=close,
        sentences_from_tokens=start,
    )
    found = [len(one.input_ids) for one in tokens.every_window]
    assert rows_of(tokens.n_total + 2, windows) == found
