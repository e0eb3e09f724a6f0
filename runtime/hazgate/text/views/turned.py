"""Views of texts whose letters were shifted by thirteen, or that were written backwards. Pure."""

import codecs
import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from hazgate.text.views.edits import Edit
from hazgate.text.views.letters import (
    STEPS_PER_BIT,
    costs,
    letter_classes,
    looks_like_words,
    trigrams,
)

# What a turned passage must gain over the passage as written, in bits a letter and in bits.
# English gains 4 bits a letter if it was shifted, 2 if it was written backwards.
_LEAST_OF_ROT13 = (1.2, 45)
_LEAST_OF_TURNING = (0.4, 30)
# One word again and again is no passage.
_LEAST_DISTINCT = 7


def rot13(text: str) -> list[Edit]:
    """Shift the letters of passages that read as words only then."""
    return _turned(
        text,
        _passages(text, _gains_of_rot13(), _LEAST_OF_ROT13[1]),
        lambda passage: codecs.encode(passage, "rot13"),
    )


def backwards(text: str) -> list[Edit]:
    """Turn passages around that read as words only then."""
    return _turned(
        text,
        _passages(text, _gains_of_turning(), _LEAST_OF_TURNING[1]),
        lambda passage: passage[::-1],
    )


def may_be_rot13(found: NDArray[np.uint16]) -> bool:
    """Return False if no passage with these trigrams gains enough by shifting."""
    return _climbs_enough(_gains_of_rot13()[found], _LEAST_OF_ROT13[1])


def may_be_backwards(found: NDArray[np.uint16]) -> bool:
    """Return False if no passage with these trigrams gains enough by turning."""
    return _climbs_enough(_gains_of_turning()[found], _LEAST_OF_TURNING[1])


def _turned(
    text: str, passages: Iterable[tuple[int, int]], turn: Callable[[str], str]
) -> list[Edit]:
    edits = (Edit(start=start, end=end, text=turn(text[start:end])) for start, end in passages)
    return [
        edit
        for edit in edits
        if looks_like_words(edit.text) and len(set(edit.text)) >= _LEAST_DISTINCT
    ]


def _climbs_enough(gains: NDArray[np.int32], least_bits: float) -> bool:
    # The most that any passage gains is the steepest climb of the running sum.
    summed = np.cumsum(gains)
    return int((summed - np.minimum.accumulate(summed)).max()) >= least_bits * STEPS_PER_BIT


@functools.cache
def _gains_of_rot13() -> NDArray[np.int32]:
    """Return what shifting gains by each trigram, in 1/16 bit, shape [27 ** 3]."""
    letters = np.arange(27)
    shifted = np.where(letters == 0, 0, (letters + 12) % 26 + 1)
    table = costs().reshape(27, 27, 27).astype(np.int32)
    return _less(table - table[np.ix_(shifted, shifted, shifted)], _LEAST_OF_ROT13[0])


@functools.cache
def _gains_of_turning() -> NDArray[np.int32]:
    """Return what reading backwards gains by each trigram, in 1/16 bit, shape [27 ** 3]."""
    table = costs().reshape(27, 27, 27).astype(np.int32)
    return _less(table - table.transpose(2, 1, 0), _LEAST_OF_TURNING[0])


def _less(gains: NDArray[np.int32], least_bits: float) -> NDArray[np.int32]:
    """Return gains less what each letter must gain."""
    gains[:, :, 1:] -= round(least_bits * STEPS_PER_BIT)
    return gains.reshape(-1)


def _passages(text: str, table: NDArray[np.int32], least_bits: float) -> Iterator[tuple[int, int]]:
    """Yield the beginnings and ends of the passages that gain enough, in the text's order."""
    classes = letter_classes(text)
    gains = table[trigrams(classes)]
    if not _climbs_enough(gains, least_bits):
        return
    at = 0
    least = round(least_bits * STEPS_PER_BIT)
    for start, end in _climbs(gains.tolist(), least):
        # Words at the ends of a line gain nothing by chance; that line is of one kind.
        line = text.rfind("\n", 0, start) + 1
        start = _end_of_word(classes, start, -1)
        if int(gains[line:start].sum()) > -least // 2:
            start = line
        line_end = text.find("\n", end)
        line_end = len(text) if line_end < 0 else line_end
        end = _end_of_word(classes, end, 1)
        if int(gains[end:line_end].sum()) > -least // 2:
            end = line_end
        start = max(start, at)
        if start < end:
            yield start, end
            at = end


def _end_of_word(classes: NDArray[np.uint8], at: int, step: int) -> int:
    """Return the place before or behind the word at a place."""
    while 0 <= (i := at - (step < 0)) < len(classes) and classes[i]:
        at += step
    return at


def _climbs(gains: list[int], least: int) -> Iterator[tuple[int, int]]:
    """Yield the runs whose sum is high enough; one ends where the sum falls as far again."""
    total = peak = start = top = 0
    for i, gain in enumerate(gains):
        total += gain
        if total > peak:
            peak, top = total, i
        if total <= 0 or total <= peak - least:
            if peak >= least:
                yield start, top
            total = peak = 0
            start = top = i + 1
    if peak >= least:
        yield start, top
