"""A growing text is cut into windows that hold all of it, at a cost linear in its length."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import Gate, Reading
from hazgate.engine.options import EngineOptions
from hazgate.text.growing import DueWindow, GrowingText, Windowing
from hazgate.text.tokenization import Tokenizer
from hazgate.text.watch import windowings_of
from tests.support.tokenizers import windows_spec, write_word_tokenizer

WINDOW, OVERLAP, CLOSE = 128, 32, 28


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("growing")
    file = write_word_tokenizer(folder / "tokenizer.json")
    return Tokenizer(
        file,
        windows_spec(WINDOW, OVERLAP, close_tokens=CLOSE, max_tokens=256),
    )


def _grow(growing: GrowingText, pieces: Sequence[str]) -> Iterator[DueWindow]:
    for piece in pieces:
        growing.add(piece)
        yield from growing.due()
    yield from growing.rest()


def _uncovered(parts: Sequence[DueWindow], n_characters: int) -> list[int]:
    covered = bytearray(n_characters)
    for part in parts:
        covered[part.start : part.end] = b"\x01" * (part.end - part.start)
    return [i for i, is_covered in enumerate(covered) if not is_covered]


@given(
    pieces=st.lists(
        st.text(alphabet="ab \n.é語", max_size=30)
        | st.sampled_from(["good ", "morning", "x" * 700, " " * 90])
    ),
    stride=st.none() | st.integers(1, 200),
)
@settings(deadline=None)
def test_every_character_is_in_a_window_of_each_size_and_every_part_is_the_text_it_says(
    tokenizer: Tokenizer, pieces: list[str], stride: int | None
) -> None:
    text = "".join(pieces)
    windowings = windowings_of(tokenizer, stride)
    growing = GrowingText(tokenizer, windowings)
    parts = list(_grow(growing, pieces))
    for i in range(len(windowings)):
        own = [part for part in parts if part.windowing == i]
        assert _uncovered(own, len(text)) == []
        assert all(a.end <= b.end for a, b in itertools.pairwise(own))
    for part in parts:
        assert text[part.start : part.end] == part.text
    assert growing.n_characters == len(text)
    assert not text or growing.n_read == len(text)


def test_what_is_not_handed_out_is_not_called_read(tokenizer: Tokenizer) -> None:
    growing = GrowingText(
        tokenizer, [Windowing(window_tokens=8, stride_tokens=4, longest_stride_tokens=4)]
    )
    growing.add("good good good ")
    assert (growing.due(), growing.n_read, growing.n_characters) == ([], 0, 15)
    growing.add("good ")
    (part,) = growing.due()
    assert growing.n_read == part.end == growing.n_characters


@pytest.mark.parametrize(
    "text", ["good " * 12_000, "a" * 60_000, " " * 60_000, "語" * 20_000], ids=lambda t: t[:5]
)
def test_the_windows_of_a_long_text_hold_no_more_than_one_check_reads(
    tokenizer: Tokenizer, text: str
) -> None:
    pieces = [text[i : i + 100] for i in range(0, len(text), 100)]
    parts = list(_grow(GrowingText(tokenizer, windowings_of(tokenizer, None)), pieces))
    (whole,) = tokenizer.encode([text])
    n_once = sum(len(window.input_ids) for window in whole.every_window)
    n_read = sum(
        len(window.input_ids)
        for tokens in tokenizer.encode([part.text for part in parts])
        for window in tokens.every_window
    )
    # Letters and spaces are few tokens or none: their cost is that of their characters.
    assert n_read <= max(n_once * 1.02, len(text) / 4)
    assert sum(len(part.text) for part in parts) <= 4.5 * len(text)


class _Counting:
    """A session that counts the tokens that it is given."""

    def __init__(self, session: object) -> None:
        self._session = session
        self.n_tokens = 0

    def run(self, input_ids: object, attention_mask: object, may_leave: object = None) -> object:
        self.n_tokens += int(attention_mask.sum())  # type: ignore[attr-defined]
        return self._session.run(input_ids, attention_mask, may_leave)  # type: ignore[attr-defined]


def test_a_watched_text_costs_at_most_two_checks_of_it(spotter: Path) -> None:
    reading = Reading(max_text_tokens=1 << 20)
    gate = Gate.open(spotter, engine=EngineOptions(threads=1), reading=reading)
    counting = _Counting(gate.level1.session)
    level = dataclasses.replace(gate.level1, session=cast("object", counting))  # type: ignore[arg-type]
    counted = dataclasses.replace(gate, level1=level)
    text = ("good " * 20 + "\n") * 300
    counted.check(text)
    n_once, counting.n_tokens = counting.n_tokens, 0
    watch = counted.watch()
    for i in range(0, len(text), 100):
        assert not watch.add(text[i : i + 100])
    assert watch.finish().tokens.total == 6_000
    assert counting.n_tokens <= 2 * n_once
