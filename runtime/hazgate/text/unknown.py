"""The parts of a text that its tokenizer does not know. Pure.

A tokenizer with a fixed vocabulary writes one unknown token for each word that it cannot spell, so
a model reads nothing of it. Language models read such words.
"""

import re
from collections.abc import Sequence

# From this share of unknown letters on, a text is not understood.
_UNKNOWN_SHARE = 0.5
# An unknown piece of more letters is a hidden sentence rather than a word.
_LONGEST_WORD = 32

# Characters that say no words: spaces, and arrows, boxes, shapes and emoji with what joins and
# colours them. Circled and squared letters, and flags in a row, may spell something.
_WORDLESS = re.compile(
    "\\s"
    "|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
    "|(?<![\U0001f1e6-\U0001f1ff])[\U0001f1e6-\U0001f1ff]{2}(?![\U0001f1e6-\U0001f1ff])"
    "|[\u00a9\u00ae\u203c\u2049\u2122\u2190-\u21ff\u2300-\u23ff\u2500-\u2775\u2794-\u27ff"
    "\u2900-\u297f\u2b00-\u2bff\u3030\u303d\U0001f000-\U0001f0ff\U0001f300-\U0001faff"
    "\u200d\u20e3\ufe0e\ufe0f]"
)
# Characters that tokenizers drop and language models read: tags, variation selectors that carry
# bytes, and the areas for private use.
_DROPPED = re.compile("[\ue000-\uf8ff\U000e0000-\U0010ffff]")


def may_hide(text: str) -> bool:
    """Return True if a text has characters that a tokenizer may drop without a token."""
    return not text.isascii() and _DROPPED.search(text) is not None


def is_understood(part: str, unknown: Sequence[str]) -> bool:
    """Return False if a part of a text is mostly unknown to its tokenizer.

    It is if half of its letters or more stand in unknown pieces, or if one such piece is longer
    than any word. Spaces and emoji are no letters.

    Args:
        part: the part, or the whole text.
        unknown: the characters of each unknown token in it.
    """
    letters = letters_of(part)
    hidden = _DROPPED.findall(letters)
    pieces = [len(_DROPPED.sub("", letters_of(piece))) for piece in unknown]
    n_unknown = sum(pieces) + len(hidden)
    if not n_unknown:
        return True
    return n_unknown < _UNKNOWN_SHARE * len(letters) and max(pieces, default=0) <= _LONGEST_WORD


def letters_of(text: str) -> str:
    """Return a text without the characters that say no words."""
    return _WORDLESS.sub("", text)
