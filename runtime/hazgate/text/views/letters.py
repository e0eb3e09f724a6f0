"""Statistics of letters: how much a text looks like words of a language in Latin script.

The measure is the information of each letter after the two before it, in bits, from frequencies of
words in seven languages (`tests/support/view_tables.py`). English has 3 bits a letter, letters at
random 6 and more.
"""

import functools
import unicodedata
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

STEPS_PER_BIT = 16
_N = 27
# Latin letters with marks end here.
_N_CODES = 0x1F01
_A, _Z = ord("a"), ord("z")
# The most bits a letter of words. Of texts in English one in two hundred has more, their letters
# shifted by thirteen have 6.4 to 9.
MAX_BITS = 6.2
# Of random bytes, so many are printable once in ten million times.
_SURE_LENGTH = 16
_LEAST_WORDLIKE = 0.7
_FEW = 48
_LINES = {ord(c): None for c in "\t\n\r"}
# Letters below which nothing can be said.
MIN_LETTERS = 3
_LEAST_UNSPLIT, _MAX_UNSPLIT = 5, 4096
_LONGEST_WORD = 20


@functools.cache
def costs() -> NDArray[np.uint8]:
    """Return the information of the third letter of a trigram, in 1/16 bit, shape [27 ** 3]."""
    table = files("hazgate.text.views").joinpath("trigrams.bin").read_bytes()
    return np.frombuffer(table, dtype=np.uint8)


@functools.cache
def _classes() -> NDArray[np.uint8]:
    """Return the letter of each character below U+1F00: 1 to 26, 0 for others; é counts as e."""
    found = np.zeros(_N_CODES, dtype=np.uint8)
    latin = (*range(0x250), *range(0x1E00, 0x1F00))
    for code in latin:
        letter = ord(unicodedata.normalize("NFD", chr(code).lower())[0])
        if _A <= letter <= _Z:
            found[code] = letter - _A + 1
    return found


def letter_classes(text: str) -> NDArray[np.uint8]:
    """Return the letter of each character, shape [len(text)]; 0 is none of a to z."""
    return classes_of_codes(
        np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    )


def classes_of_codes(codes: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
    """Return the letter of each code point, see `letter_classes`."""
    places = codes if codes.dtype == np.uint8 else np.minimum(codes, _N_CODES - 1)
    found: NDArray[np.uint8] = _classes()[places]
    return found


def trigrams(classes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the trigram that ends with each letter, and one with the end, shape [n + 1]."""
    padded = np.zeros(len(classes) + 3, dtype=np.uint16)
    padded[2:-1] = classes
    pairs = padded[:-1] * np.uint16(_N) + padded[1:]
    found: NDArray[np.uint16] = padded[:-2] * np.uint16(_N * _N) + pairs[1:]
    return found


def bits_per_letter(text: str) -> float:
    """Return the mean information of a letter; infinity without letters."""
    if len(text) <= _FEW and text.isascii():
        return _bits_of_few(text)
    classes = letter_classes(text)
    n_letters = int(np.count_nonzero(classes))
    if not n_letters:
        return float("inf")
    return float(costs()[trigrams(classes)].sum()) / STEPS_PER_BIT / n_letters


def _bits_of_few(text: str) -> float:
    """Return the mean information of a letter without arrays, which cost more than a word."""
    table = _cost_list()
    first = second = total = n_letters = 0
    for code in text.lower().encode("ascii"):
        letter = code - _A + 1 if _A <= code <= _Z else 0
        total += table[(first * _N + second) * _N + letter]
        first, second = second, letter
        n_letters += letter > 0
    total += table[(first * _N + second) * _N]
    return total / STEPS_PER_BIT / n_letters if n_letters else float("inf")


@functools.cache
def _cost_list() -> list[int]:
    table: list[int] = costs().tolist()
    return table


def looks_like_words(text: str, max_bits: float = MAX_BITS) -> bool:
    """Return True if the letters of a text follow one another as in words.

    Letters of other scripts than Latin are words by themselves: nothing decodes to them by chance.
    """
    n_letters = sum(map(str.isalpha, text))
    if n_letters < MIN_LETTERS:
        return False
    classes = letter_classes(text)
    n_latin = int(np.count_nonzero(classes))
    if n_latin < n_letters / 2:
        return True
    return bits_per_letter(text) <= max_bits


def is_text(decoded: str) -> bool:
    """Return True if what was decoded is text.

    It is printable, and either so long that no other bytes are by chance, which holds for codes in
    codes, too; or at least 3 letters that follow one another as in words, and mostly letters and
    spaces.
    """
    if not decoded.translate(_LINES).isprintable():
        return False
    if len(decoded) >= _SURE_LENGTH:
        return True
    n_wordlike = sum(not c.isascii() or c.isalpha() or c.isspace() for c in decoded)
    return n_wordlike >= _LEAST_WORDLIKE * len(decoded) and looks_like_words(decoded)


def split_words(joined: str) -> list[int]:
    """Return where the words of Latin letters without gaps begin, by the least information.

    Letters of few or very many, or with others, are one word.
    """
    if not _LEAST_UNSPLIT < len(joined) <= _MAX_UNSPLIT:
        return [0]
    classes = letter_classes(joined).tolist()
    if not classes or 0 in classes:
        return [0]
    table = costs().reshape(_N, _N, _N).tolist()
    best = [0.0] + [float("inf")] * len(classes)
    begins = [0] * (len(classes) + 1)
    for start in range(len(classes)):
        total, before, last = best[start], 0, 0
        for end in range(start + 1, min(start + _LONGEST_WORD, len(classes)) + 1):
            letter = classes[end - 1]
            total += table[before][last][letter]
            before, last = last, letter
            ended = total + table[before][last][0]
            if ended < best[end]:
                best[end], begins[end] = ended, start
    found = []
    end = len(classes)
    while end:
        end = begins[end]
        found.append(end)
    return found[::-1]
