"""One scan of a text that says which kinds of disguise it cannot have. Pure.

Plain text pays for nothing else, so the scan is a few passes of arrays over its characters.
"""

import functools
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.text.views import characters, confusables
from hazgate.text.views.letters import classes_of_codes, trigrams

# What a character may be part of, as bits.
TAG, INVISIBLE, MARK, COMPATIBLE, TWIN, LATIN, FOREIGN, OTHER, EMOJI, HEX, PAIRS, CODE, SIGN = (
    1 << i for i in range(13)
)
# Beyond, there are ideographs, tags and selectors.
_N_CODES = 0x20000
# Scripts but Latin begin with Greek.
_FIRST_OTHER = 0x370
_RANGE = re.compile("(?s)(.)(?:-(.))?")
# Letters that stand in one word with Latin ones only in disguise.
_FOREIGN = "\u0370-\u058f\u13a0-\u13fd\u1f00-\u1fff\u2c80-\u2cff\ua4d0-\ua4ff"
_OTHER = (
    "\u0370-\u1cff\u1f00-\u1fff\u2c00-\u2c5f\u2c80-\u2dff\u3040-\u318f\u3400-\ua71f"
    "\ua800-\uab2f\uab70-\ud7ff\uf900-\ufaff\ufb13-\ufdff\ufe70-\uffdc\U00010000-\U0001cfff"
)
_EMOJI = "\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff"


@dataclass(frozen=True, kw_only=True, slots=True)
class TextScan:
    """The findings of one scan of a text.

    `bits` has the bits of all its characters together. `is_mixed` is True if letters of two
    scripts stand side by side, `is_latin` if it is in Latin, or pretends not to be. `longest_hex`,
    `longest_pairs` and `longest_code` count the characters in a row of hex, of hex with gaps and
    of base64. `apart` is True if three letters in a row have one character
    between them, `has_signs` if a letter and another or a sign have one like a letter between
    them, `repeats` if a letter is there thrice in a row; `n_doubled` counts letters that equal
    the one before. `trigrams` are those of its letters, shape [len(text) + 1].
    """

    text: str
    bits: int
    is_mixed: bool
    is_latin: bool
    longest_hex: int
    longest_code: int
    longest_pairs: int
    apart: bool
    has_signs: bool
    repeats: bool
    n_doubled: int
    n_letters: int
    trigrams: NDArray[np.uint16]


def scan_of(text: str) -> TextScan:
    """Scan a text."""
    codes: NDArray[np.unsignedinteger]
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        of_each = _table()[codes]
        bits, is_mixed, is_latin = 0, False, True
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        of_each = _table()[np.minimum(codes, _N_CODES)]
        bits = int(np.bitwise_or.reduce(of_each))
        is_mixed, is_latin = _scripts(of_each, bits)
    classes = classes_of_codes(codes)
    is_letter = classes != 0
    same = (classes[1:] == classes[:-1]) & is_letter[1:]
    if bits & OTHER:
        is_letter |= codes >= _FIRST_OTHER
        same |= (codes[1:] == codes[:-1]) & is_letter[1:]
    return TextScan(
        text=text,
        bits=bits,
        is_mixed=is_mixed,
        is_latin=is_latin,
        longest_hex=_longest_run((of_each & HEX) != 0),
        longest_code=_longest_run((of_each & CODE) != 0),
        longest_pairs=_longest_run((of_each & PAIRS) != 0),
        apart=_has_letters_apart(is_letter),
        has_signs=_has_signs(is_letter, (of_each & SIGN) != 0),
        repeats=bool((same[1:] & same[:-1]).any()),
        n_doubled=int(np.count_nonzero(same)),
        n_letters=int(np.count_nonzero(is_letter)),
        trigrams=trigrams(classes),
    )


def _scripts(of_each: NDArray[np.uint16], bits: int) -> tuple[bool, bool]:
    """Return if letters of two scripts stand side by side, and if Latin letters are the most."""
    if not bits & (TWIN | FOREIGN) or not len(of_each):
        return False, True
    latin = (of_each & LATIN) != 0
    foreign = (of_each & (TWIN | FOREIGN)) != 0
    mixed = bool((latin[1:] & foreign[:-1]).any() or (latin[:-1] & foreign[1:]).any())
    n_twins = int(np.count_nonzero(of_each & TWIN))
    n_other = int(np.count_nonzero((of_each & (TWIN | OTHER)) == OTHER))
    return mixed, confusables.is_in_latin(int(np.count_nonzero(latin)), n_twins, n_other)


def _longest_run(holds: NDArray[np.bool_]) -> int:
    breaks = np.flatnonzero(~holds)
    if not len(breaks):
        return len(holds)
    longest = max(int(breaks[0]), len(holds) - 1 - int(breaks[-1]))
    between = breaks[1:] - breaks[:-1]
    return max(longest, int(between.max()) - 1) if len(between) else longest


def _has_signs(is_letter: NDArray[np.bool_], is_sign: NDArray[np.bool_]) -> bool:
    """Return True if a letter, a sign, and a letter or sign follow one another."""
    return bool((is_letter[:-2] & is_sign[1:-1] & (is_letter[2:] | is_sign[2:])).any())


def _has_letters_apart(is_letter: NDArray[np.bool_]) -> bool:
    """Return True if three letters in a row have one character between them."""
    alone = is_letter.copy()
    alone[1:] &= ~is_letter[:-1]
    alone[:-1] &= ~is_letter[1:]
    return bool((alone[4:] & alone[2:-2] & alone[:-4]).any())


@functools.cache
def _table() -> NDArray[np.uint16]:
    """Return the bits of each character, shape [_N_CODES + 1]; the last has those beyond."""
    found = np.zeros(_N_CODES + 1, dtype=np.uint16)
    classes = {
        TAG: characters.SELECTORS,
        INVISIBLE: characters.INVISIBLE,
        MARK: characters.MARKS,
        COMPATIBLE: characters.COMPATIBLE,
        TWIN: confusables.twins(),
        LATIN: "A-Za-z",
        FOREIGN: _FOREIGN,
        OTHER: _OTHER,
        EMOJI: _EMOJI,
        HEX: "0-9A-Fa-f",
        PAIRS: "0-9A-Fa-fx :,",
        CODE: "A-Za-z0-9+/_-",
        SIGN: "013-57-8@$!|€£",
    }
    for bit, characters_of in classes.items():
        for first, last in _RANGE.findall(characters_of):
            found[ord(first) : ord(last or first) + 1] |= bit
    found[-1] = TAG | INVISIBLE
    return found
