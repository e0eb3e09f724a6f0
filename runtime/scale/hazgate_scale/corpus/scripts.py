"""Which script a text is written in: no language detector, but no dependency and no guess."""

import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import islice

# Letters that are looked at: a text's script shows in its first words.
_N_LETTERS = 32
NO_LETTERS = "none"


def script_of(text: str) -> str:
    """The script of most of a text's first letters, as Unicode names it: "latin", or "cjk"."""
    letters = list(islice(filter(str.isalpha, text), _N_LETTERS))
    if not letters:
        return NO_LETTERS
    return Counter(map(_script_of_letter, letters)).most_common(1)[0][0]


@lru_cache(maxsize=1 << 16)
def _script_of_letter(letter: str) -> str:
    """The first word of a letter's name: the standard library knows no script property."""
    return unicodedata.name(letter, "unknown").partition(" ")[0].lower()
