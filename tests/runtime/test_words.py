"""Words are what white space parts, whichever token a tokenizer keeps the space with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.text.words import words_of


def _said(text: str, offsets: list[tuple[int, int]]) -> list[str]:
    return [text[start:end].strip() for start, end in words_of(text, offsets).offsets]


@pytest.mark.parametrize(
    ("text", "offsets", "first"),
    [
        # As BERT: spaces belong to no token.
        ("Ada Lovelace!", [(0, 3), (4, 8), (8, 12), (12, 13)], (0, 1)),
        # As SentencePiece: a space belongs to the word behind it.
        ("Ada Lovelace!", [(0, 3), (3, 8), (8, 12), (12, 13)], (0, 1)),
        # A token of white space alone is no word.
        ("Ada \n Lovelace", [(0, 3), (3, 6), (6, 14)], (0, 2)),
        ("Ada  Lovelace", [(0, 3), (3, 4), (4, 13)], (0, 2)),
        # Several tokens spell one character.
        ("\N{GRINNING FACE} x", [(0, 1), (0, 1), (1, 3)], (0, 2)),
        ("", [], ()),
    ],
)
def test_a_word_begins_behind_white_space(
    text: str, offsets: list[tuple[int, int]], first: tuple[int, ...]
) -> None:
    assert words_of(text, offsets).first == first
    assert _said(text, offsets) == text.split()


@given(st.lists(st.text(st.sampled_from("ab\u0301\u05e9\N{GRINNING FACE}-"), min_size=1),
                max_size=6), st.data())  # fmt: skip
def test_the_words_of_any_tokens_are_those_between_spaces(
    words: list[str], data: st.DataObject
) -> None:
    text = " ".join(words)
    offsets: list[tuple[int, int]] = []
    start = 0
    for word in words:
        # The space goes with the word behind it, or with none.
        begin = start - 1 if start and data.draw(st.booleans()) else start
        cuts = sorted(data.draw(st.sets(st.integers(start + 1, start + len(word)), max_size=3)))
        for end in dict.fromkeys([*cuts, start + len(word)]):
            offsets.append((begin, end))
            begin = end
        start += len(word) + 1
    assert _said(text, offsets) == words
