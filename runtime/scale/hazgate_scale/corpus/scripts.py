"""The script of a text: no language detector, but no dependency and no guess."""

import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import islice

# Letters to look at: the first words show a text's script.
_N_LETTERS = 32
NO_LETTERS = "none"


def script_of(text: str) -> str:
    """Find the script of most of a text's first letters by its Unicode name, e.g. "latin"."""
    letters = list(islice(filter(str.isalpha, text), _N_LETTERS))
    if not letters:
        return NO_LETTERS
    return Counter(map(_script_of_letter, letters)).most_common(1)[0][0]


@lru_cache(maxsize=1 << 16)
def _script_of_letter(letter: str) -> str:
    """Take the first word of a letter's name, as the standard library has no script property."""
    return unicodedata.name(letter, "unknown").partition(" ")[0].lower()
