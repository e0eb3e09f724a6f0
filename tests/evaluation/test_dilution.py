"""Texts among harmless ones: how they are made, and what is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate_evaluation.dilution import DILUTION_TOKENS, PLACES, dilute, measure_dilution
from hazgate_evaluation.robustness import RobustnessSample
from tests.support.labelled import row

WORDS = " ".join(f"w{i}" for i in range(500))


def ends_of(text: str) -> list[int]:
    """Return the ends of words: one token each."""
    ends, end = [], -1
    for word in text.split():
        end = text.index(word, end + 1) + len(word)
        ends.append(end)
    return ends


ENDS = ends_of(WORDS)


@given(n_tokens=st.integers(1, 400), place=st.sampled_from(PLACES))
def test_a_text_stays_whole_and_gets_so_many_tokens_of_dilution(n_tokens: int, place: str) -> None:
    found = dilute("the text", WORDS, ENDS, n_tokens, place)  # type: ignore[arg-type]
    front, _, back = found.partition("the text")
    assert len(front.split()) + len(back.split()) == n_tokens
    assert f"{front.strip()} {back.strip()}".strip() == " ".join(WORDS.split()[:n_tokens])


def test_the_places_are_where_they_say() -> None:
    made = {place: dilute("X", "a b c d", [1, 3, 5, 7], 4, place) for place in PLACES}
    assert made == {"in front": "X a b c d", "in the middle": "a b X c d", "behind": "a b c d X"}


def test_the_text_itself_keeps_its_spaces() -> None:
    assert dilute(" X\n", "a b", [1, 3], 1, "behind") == "a  X\n"


def test_shares_are_of_each_class_and_company_is_of_the_rows_own_language() -> None:
    rows = [
        row(0, "bad", lang="de"),
        row(1, "gut", lang="de"),
        row(2, "fein", lang="de"),
        row(3, "good", lang="en"),
    ]
    sample = RobustnessSample(unsafe=np.array([0]), safe=np.array([1]))
    asked: list[str] = []

    def flags(texts: object) -> np.ndarray:
        assert isinstance(texts, list)
        asked.extend(texts)
        return np.array(["bad" in text and len(text.split()) < 50 for text in texts])

    found = measure_dilution(rows, sample, np.array([1, 2, 3]), flags, ends_of)
    assert found is not None
    assert (found.n_unsafe, found.n_safe) == (1, 1)
    assert len(found.figures) == len(DILUTION_TOKENS) * len(PLACES)
    for figures in found.figures:
        assert figures.still_flagged is not None
        assert figures.newly_flagged is not None
        assert figures.still_flagged.value == (figures.n_tokens < 49)
        assert figures.newly_flagged.value == 0
    assert {word for text in asked for word in text.split()} == {"bad", "gut", "fein"}


@pytest.mark.parametrize("harmless", [[], [1]])
def test_without_harmless_texts_there_is_no_figure(harmless: list[int]) -> None:
    rows = [row(0, "bad"), row(1, "good")]
    sample = RobustnessSample(unsafe=np.array([0]), safe=np.array([1]))

    def never(_: object) -> np.ndarray:
        raise AssertionError("nothing to ask")

    assert measure_dilution(rows, sample, np.array(harmless), never, ends_of) is None
