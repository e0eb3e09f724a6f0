"""Sentences as ranges of tokens: nothing is left out, and ends are where a reader sees them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.text.sentences import LEAST_TOKENS, sentences

MOST = 12
PIECES = st.lists(
    st.sampled_from(("word", "word.", "Really?", "no!", "one;", "…", "3.5", "e.g.", "\n", "好。")),
    max_size=60,
)


def offsets_of(text: str, *, with_space: bool = False) -> list[tuple[int, int]]:
    """Return the characters of each word or Chinese sign, with the space before it if asked for."""
    pattern = r"[\u3000-\uffef]|[^\s\u3000-\uffef]+"
    pattern = rf"\s?(?:{pattern})" if with_space else pattern
    return [(found.start(), found.end()) for found in re.finditer(pattern, text)]


def texts_of(text: str, most: int = MOST, *, with_space: bool = False) -> list[str]:
    offsets = offsets_of(text, with_space=with_space)
    return [
        text[offsets[own.start][0] : offsets[own.stop - 1][1]].strip()
        for own in sentences(text, offsets, most)
    ]


@given(pieces=PIECES, with_space=st.booleans(), most=st.integers(1, 20))
def test_every_token_is_in_a_sentence_and_none_is_too_long(
    pieces: list[str], with_space: bool, most: int
) -> None:
    text = " ".join(pieces)
    offsets = offsets_of(text, with_space=with_space)
    found = sentences(text, offsets, most)
    assert {i for own in found for i in own} == set(range(len(offsets)))
    assert all(len(own) <= most for own in found)
    assert [own.start for own in found] == sorted(own.start for own in found)


@given(pieces=PIECES)
def test_a_sentence_that_fits_is_read_once(pieces: list[str]) -> None:
    text = " ".join(pieces)
    found = sentences(text, offsets_of(text), 1000)
    assert sum(map(len, found)) == len(offsets_of(text))


@pytest.mark.parametrize("with_space", [False, True])
def test_sentences_end_at_marks_and_lines(with_space: bool) -> None:
    text = "We went to the lake. Did you see the old boat? Buy milk, eggs and bread\nand call me"
    assert texts_of(text, with_space=with_space) == [
        "We went to the lake.",
        "Did you see the old boat?",
        "Buy milk, eggs and bread\nand call me",
    ]


def test_a_short_sentence_goes_with_the_next_one() -> None:
    assert texts_of("Hi. All right. We can go home now. I am tired today, too.") == [
        "Hi. All right. We can go home now.",
        "I am tired today, too.",
    ]
    assert LEAST_TOKENS == 5


def test_a_short_end_goes_with_the_sentence_before() -> None:
    assert texts_of("We can all go home now. Bye.") == ["We can all go home now. Bye."]


def test_a_long_sentence_is_read_in_windows_that_overlap_by_half() -> None:
    words = [f"w{i}" for i in range(10)]
    assert texts_of(" ".join(words), 4) == [
        "w0 w1 w2 w3",
        "w2 w3 w4 w5",
        "w4 w5 w6 w7",
        "w6 w7 w8 w9",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "我们今天去湖边。你看到旧船了吗？",
        "क्या आप कल झील पर आए। हम सब वहाँ आपका इंतज़ार करेंगे।",
        "هل رأيت القارب القديم في البحيرة؟ سنذهب إلى البيت غدا صباحا إن شاء الله",
    ],
)
def test_marks_of_other_scripts_end_sentences(text: str) -> None:
    assert len(texts_of(text)) == 2


def test_a_text_without_tokens_is_one_empty_sentence() -> None:
    assert sentences("  \n ", [], 5) == (range(0),)
