"""Words of a text in its tokens: what white space parts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.judging.spans import find_spans
from hazgate.judging.tags import Tags
from hazgate.judging.verdict import LabelledSpan


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The words of a tokenised text, in its order.

    `offsets` are the characters of each, the end not included, perhaps with white space at the
    ends; `first` is the number of each one's first token.
    """

    offsets: tuple[tuple[int, int], ...]
    first: tuple[int, ...]


def words_of(text: str, offsets: Sequence[tuple[int, int]]) -> Words:
    """Return the words that tokens spell; each token belongs to one.

    A token begins a word if white space stands before it, or if its own characters begin with some,
    as those of tokenizers do that keep a space with the word behind it. A token of white space
    alone is no word: it belongs to the word before it, if there is one.

    Args:
        text: the text.
        offsets: characters of each token, the end not included.
    """
    words: list[tuple[int, int]] = []
    first: list[int] = []
    for i, (start, end) in enumerate(offsets):
        before = text[words[-1][1] : start] if words else ""
        last = text[words[-1][0] : words[-1][1]] if words else ""
        is_blank = start < end and not text[start:end].strip()
        parted = _begins_blank(text[start:end]) or _begins_blank(before) or last != last.rstrip()
        if words and (is_blank or not parted):
            words[-1] = (words[-1][0], max(words[-1][1], end))
        else:
            words.append((start, end))
            first.append(i)
    return Words(offsets=tuple(words), first=tuple(first))


def find_tagged_spans(
    text: str,
    offsets: Sequence[tuple[int, int]],
    logits: NDArray[np.float32],
    tags: Tags,
    *,
    by_word: bool,
) -> tuple[LabelledSpan, ...]:
    """Return the spans that the tags of a text's tokens, or of its words, mark.

    Args:
        text: the text.
        offsets: characters of each token, the end not included.
        logits: shape [len(offsets), len(tags.tags)].
        tags: the meaning of the logits' columns.
        by_word: True if each word has the tag of its first token, and other tags mean nothing.
    """
    if by_word:
        words = words_of(text, offsets)
        offsets, logits = words.offsets, logits[list(words.first)]
    return find_spans(text, offsets, logits, tags)


def _begins_blank(characters: str) -> bool:
    return bool(characters) and characters != characters.lstrip()
