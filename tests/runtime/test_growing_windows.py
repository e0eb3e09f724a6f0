"""A growing text is read in the windows of the whole, so that its end finds them kept."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hazgate import Gate, Reading, Verdict
from hazgate.engine.logit_store import StoreLimits
from hazgate.engine.options import EngineOptions
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.queue.growing_check import GrowingCheck
from hazgate.text.growing import DueWindow
from hazgate.text.growing_windows import GrowingWindows
from hazgate.text.tokenization import Tokenizer
from hazgate.text.watch import windowings_of
from tests.support.sessions import watched_gate
from tests.support.tokenizers import windows_spec, write_letter_tokenizer

WINDOW, OVERLAP, CLOSE = 26, 6, 11


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Return a tokenizer as BERT's: a token for each letter, so windows begin within words."""
    file = write_letter_tokenizer(tmp_path_factory.mktemp("growing") / "tokenizer.json")
    return Tokenizer(
        file,
        windows_spec(WINDOW, OVERLAP, close_tokens=CLOSE, max_tokens=256),
    )


def _growing(tokenizer: Tokenizer) -> GrowingWindows:
    return GrowingWindows(tokenizer, windowings_of(tokenizer, None)[0])


def _handed_out(growing: GrowingWindows, pieces: Sequence[str]) -> list[DueWindow]:
    parts = []
    for piece in pieces:
        growing.add(piece)
        parts += growing.due()
    return parts


PIECES = st.lists(
    st.text(alphabet="ab \n.,é語", max_size=40)
    | st.sampled_from(["good ", "morning", "x" * 300, " " * 90, "\n\n  ", "a, b"])
)


@given(pieces=PIECES)
@example(pieces=[" " * 90] * 3)
@example(pieces=[" " * 90] * 3 + ["good "])
def test_each_part_is_the_text_that_it_says_and_nothing_else_is_called_read(
    tokenizer: Tokenizer, pieces: list[str]
) -> None:
    text = "".join(pieces)
    growing = _growing(tokenizer)
    parts = _handed_out(growing, pieces)
    assert growing.n_characters == len(text)
    assert growing.n_read == max((part.end for part in parts), default=0)
    covered = bytearray(len(text))
    for part in parts:
        assert text[part.start : part.end] == part.text
        assert part.tokens is not None
        (window,) = part.tokens.windows
        assert (window.start, window.end) == (0, len(part.text))
        assert window.n_tokens <= (tokenizer.window_tokens, CLOSE - 2)[part.windowing]
        if not part.windowing:
            covered[part.start : part.end] = b"\x01" * len(part.text)
    # Between two windows there are characters without tokens only.
    n_read = max((part.end for part in parts if not part.windowing), default=0)
    assert not "".join(text[i] for i in range(n_read) if not covered[i]).strip()


@given(pieces=st.lists(st.text(alphabet="ab \n.,é語", max_size=40) | st.just("x" * 90)))
@settings(max_examples=50)
def test_all_windows_of_the_whole_but_the_last_were_handed_out(
    tokenizer: Tokenizer, pieces: list[str]
) -> None:
    # A word of over 256 characters is not waited for, and then cut anywhere.
    pieces = [f"{piece} " for piece in pieces]
    parts = _handed_out(_growing(tokenizer), pieces)
    given_out = {part.tokens.windows[0].input_ids for part in parts if part.tokens}
    (whole,) = tokenizer.encode(["".join(pieces)])
    for windows in (whole.windows[:-1], whole.close[:-1]):
        # The newest word is not tokenised yet.
        assert {w.input_ids for w in windows[:-2]} <= given_out


@pytest.mark.parametrize(
    "text", ["good " * 4_000, "a" * 20_000, " " * 60_000, "語" * 9_000], ids=lambda t: t[:5]
)
def test_windows_hold_no_more_than_a_check_of_the_whole_and_little_is_kept(
    tokenizer: Tokenizer, text: str
) -> None:
    growing = _growing(tokenizer)
    pieces = [text[i : i + 100] for i in range(0, len(text), 100)]
    parts: list[DueWindow] = []
    for piece in pieces:
        parts += _handed_out(growing, [piece])
        assert len(growing._kept.text) <= 300 * WINDOW
    (whole,) = tokenizer.encode([text])
    n_once = sum(len(window.input_ids) for window in whole.every_window)
    n_read = sum(part.tokens.count.read + 2 for part in parts if part.tokens)
    # A short text is looked at more often.
    # Letters that are one unknown word cost what their characters do.
    assert n_read <= max(1.02 * n_once + 60 * WINDOW, len(text) / 4)


class _CountedRuns:
    def __init__(self, gate: Gate) -> None:
        self.n_tokens = 0
        self.n_runs = 0
        self.gate = watched_gate(gate, self._count)

    def _count(self, input_ids: np.ndarray) -> None:
        self.n_runs += 1
        self.n_tokens += input_ids.size

    def since(self) -> int:
        n_tokens, self.n_tokens = self.n_tokens, 0
        return n_tokens


def _watched(gate: Gate, text: str, size: int, check: GrowingCheck | None = None) -> Verdict:
    watch = gate.watch(check=check)
    for i in range(0, len(text), size):
        assert not watch.add(text[i : i + size])
    verdict = watch.finish()
    assert watch.n_read == watch.n_characters == len(text)
    return verdict


@pytest.mark.parametrize("size", [7, 100, 30_000])
def test_a_watch_and_its_last_check_cost_little_more_than_one_check(
    spotter: Path, size: int
) -> None:
    reading = Reading(max_text_tokens=1 << 20)
    counted = _CountedRuns(Gate.open(spotter, engine=EngineOptions(threads=1), reading=reading))
    text = " ".join(["good"] * 997 + ["x" * (i % 9 + 1) for i in range(2_000)])
    expected = counted.gate.check(text)
    n_once = counted.since()
    assert _watched(counted.gate, text, size) == expected
    assert counted.since() <= 1.05 * n_once


def test_a_watch_through_a_queue_reads_once(spotting: Gate) -> None:
    counted = _CountedRuns(spotting)
    text = "good " * 1_000
    expected = counted.gate.check(text)
    n_once = counted.since()
    batcher = Batcher(counted.gate, store=StoreLimits())
    check = GrowingCheck(batcher, tenant=None, caller="a", timeout_s=60)
    assert _watched(counted.gate, text, 50, check) == expected
    assert batcher.close()
    assert counted.since() <= 1.05 * n_once


def test_windows_that_are_due_together_are_read_in_one_call(spotting: Gate) -> None:
    sizes: list[int] = []

    def check(windows: Sequence[DueWindow]) -> list[Verdict]:
        sizes.append(len(windows))
        return spotting.check_many([window.text for window in windows])

    watch = spotting.watch(check=check)
    watch.add("good " * 100)
    # Windows of six words, four apart: 25 of them, the last words included.
    assert sum(sizes) == watch.n_checks >= 24
    assert max(sizes) > 1
    assert len(sizes) <= 2


def test_the_first_unsafe_window_of_a_piece_is_the_verdict(spotting: Gate) -> None:
    watch = spotting.watch()
    assert watch.add("good " * 20 + "morning " + "good " * 60 + "world ")
    assert watch.verdict is not None
    start, end = watch.verdict.span.start, watch.verdict.span.end
    text = "good " * 20 + "morning " + "good " * 60 + "world "
    assert "morning" in text[start:end]
    assert "world" not in text[start:end]


def test_windows_of_one_text_and_different_tokens_share_no_answer(spotting: Gate) -> None:
    batcher = Batcher(spotting, cache_entries=8)
    check = GrowingCheck(batcher, tenant=None, caller="", timeout_s=60)
    (morning,) = spotting.level1.tokenizer.encode(["morning"])
    text = "good"
    alone = DueWindow(text=text, start=0, end=4, windowing=0)
    inside = dataclasses.replace(alone, tokens=morning)
    assert [each.flagged for each in check([alone, inside])] == [False, True]
    assert batcher.close()


def test_a_word_that_goes_on_leaves_no_gap(tokenizer: Tokenizer) -> None:
    for n_letters in (7, 23, 24, 60, 200):
        text = "b" * n_letters + " " + "a" * 90
        growing = _growing(tokenizer)
        covered = bytearray(len(text))
        for part in _handed_out(growing, [text]):
            covered[part.start : part.end] = b"\x01" * len(part.text)
        assert growing.n_read >= n_letters
        assert {text[i] for i in range(growing.n_read) if not covered[i]} <= {" "}


def test_looks_at_a_short_text_come_soon(tokenizer: Tokenizer) -> None:
    growing = _growing(tokenizer)
    ends = []
    for i, part in enumerate(["ab "] * 40):
        growing.add(part)
        ends += [2 * (i + 1) for _ in growing.due()]
    assert ends[0] <= 8
    assert all(b - a <= 20 for a, b in itertools.pairwise(ends))
