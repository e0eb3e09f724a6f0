"""A growing text is stopped soon after it turns unsafe, at a bounded cost."""

from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import BundleError, Gate, InputError, Reading
from hazgate.engine.options import EngineOptions
from tests.support.spotter import OVERLAP, ROOM

STRIDE = 3
MARKER = "unrepeatable"


@given(n_before=st.integers(min_value=0, max_value=80), n_after=st.integers(0, 30))
@settings(deadline=None, max_examples=40)
def test_an_unsafe_word_stops_a_text_within_a_stride(
    spotting: Gate, n_before: int, n_after: int
) -> None:
    watch = spotting.watch(stride_tokens=STRIDE)
    words = ["good "] * n_before + ["morning "] + ["good "] * (n_after + STRIDE)
    stopped = next((i for i, word in enumerate(words) if watch.add(word)), None)
    assert stopped is not None
    assert n_before <= stopped < n_before + STRIDE
    assert watch.verdict is not None
    assert "morning" in "".join(words)[watch.verdict.span.start : watch.verdict.span.end]


def test_a_harmless_text_is_never_stopped_and_read_whole_at_the_end(spotting: Gate) -> None:
    watch = spotting.watch(stride_tokens=STRIDE)
    assert not any(watch.add("good ") for _ in range(100))
    assert watch.n_checks == 100 // STRIDE
    verdict = watch.finish()
    assert not verdict.flagged
    assert verdict.tokens.read == verdict.tokens.total == 100


def test_the_final_check_finds_an_unsafe_word_that_no_earlier_check_read(spotting: Gate) -> None:
    watch = spotting.watch(stride_tokens=50)
    assert not watch.add("good morning")
    assert watch.n_checks == 0
    assert watch.finish().flagged


def test_spaces_alone_are_read_without_the_engine_and_hide_nothing(spotting: Gate) -> None:
    watch = spotting.watch(stride_tokens=STRIDE)
    assert not any(watch.add(" " * 10) for _ in range(100))
    assert watch.n_checks == 0
    assert any(watch.add(word) for word in ("good ", "morning ", "good ", "good "))
    empty = spotting.watch(stride_tokens=STRIDE)
    empty.add(" " * 1000)
    assert not empty.finish().flagged


class _Counting:
    """A session that counts the tokens that it is given."""

    def __init__(self, session: object) -> None:
        self._session = session
        self.n_tokens = 0

    def run(self, input_ids: object, attention_mask: object, may_leave: object = None) -> object:
        self.n_tokens += attention_mask.sum()  # type: ignore[attr-defined]
        return self._session.run(input_ids, attention_mask, may_leave)  # type: ignore[attr-defined]


@pytest.mark.parametrize("n_words", [100, 1000])
def test_a_token_costs_no_more_in_a_longer_text(spotting: Gate, n_words: int) -> None:
    import dataclasses

    counting = _Counting(spotting.level1.session)
    level = dataclasses.replace(spotting.level1, session=cast("object", counting))  # type: ignore[arg-type]
    watch = dataclasses.replace(spotting, level1=level).watch(stride_tokens=STRIDE)
    for _ in range(n_words):
        watch.add("good ")
    # Two special tokens a window; at most two windows a check.
    n_special = 4 * watch.n_checks
    bound = n_words * (ROOM + OVERLAP + STRIDE) / STRIDE
    assert counting.n_tokens - n_special <= bound


def test_several_checks_in_a_row_must_agree_where_that_is_asked_for(spotting: Gate) -> None:
    once, twice = spotting.watch(stride_tokens=1), spotting.watch(stride_tokens=1, n_confirm=2)
    assert [watch.add("morning ") for watch in (once, twice)] == [True, False]
    assert twice.add("good ")
    assert twice.add("good ")


def test_a_text_that_became_unsafe_stays_so_and_is_not_read_on(spotting: Gate) -> None:
    watch = spotting.watch(stride_tokens=1)
    assert watch.add("morning ")
    n_checks = watch.n_checks
    assert all(watch.add("good ") for _ in range(50))
    assert watch.n_checks == n_checks


def test_a_finished_text_takes_nothing_more(spotting: Gate) -> None:
    watch = spotting.watch()
    watch.add("good")
    watch.finish()
    with pytest.raises(InputError, match="finished"):
        watch.add("good")


def test_a_text_that_grows_too_long_is_refused(spotter: Path) -> None:
    watch = Gate.open(
        spotter, engine=EngineOptions(threads=1), reading=Reading(max_text_bytes=10)
    ).watch()
    watch.add("good good")
    with pytest.raises(InputError, match="grown to 14 bytes, at most 10"):
        watch.add(" good")


@pytest.mark.parametrize("piece", [None, b"good", 7, f"{MARKER}\ud800"], ids=repr)
def test_a_piece_that_is_no_text_is_refused_and_not_quoted(spotting: Gate, piece: object) -> None:
    with pytest.raises(InputError) as caught:
        spotting.watch().add(cast("str", piece))
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize(("stride_tokens", "n_confirm"), [(0, 1), (1, 0), (-1, 1)])
def test_strides_and_checks_are_at_least_one(
    spotting: Gate, stride_tokens: int, n_confirm: int
) -> None:
    with pytest.raises(BundleError, match="at least 1"):
        spotting.watch(stride_tokens=stride_tokens, n_confirm=n_confirm)
