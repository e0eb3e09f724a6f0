"""The sentences of a text as ranges of its tokens, to be read one by one. Pure.

A sentence by itself is what a classifier was trained on. Words cut out of the middle of one are
not: they look worse than they are, and a sentence cut in two is missed.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

from hazgate.text.cuts import cut

# A mark that ends a sentence or a clause, and space; one of scripts without spaces; a line's end.
_END = re.compile(r"(?<=[.!?;:…؟؛।])\s+|(?<=[。！？；：])|\n+")
# Fewer tokens are read with the sentence behind them: "Hi." alone says nothing.
LEAST_TOKENS = 5


def sentences(text: str, offsets: Sequence[tuple[int, int]], most_tokens: int) -> tuple[range, ...]:
    """Return the tokens of each sentence, all together every token of the text.

    Short sentences are joined with the next one, the last with the one before. One of more than
    `most_tokens` is read in windows of so many that overlap by half.

    Args:
        text: the text.
        offsets: the first character of each token, and the one behind it.
        most_tokens: at least 1.
    """
    # Some tokenizers count the space before a word to its token.
    token_ends = [end for _, end in offsets]
    ends = [bisect_right(token_ends, found.end()) for found in _END.finditer(text)]
    parts: list[range] = []
    begin = 0
    for end in ends:
        if end - begin >= LEAST_TOKENS:
            parts.append(range(begin, end))
            begin = end
    rest = range(begin, len(offsets))
    if parts and len(rest) < LEAST_TOKENS:
        parts[-1] = range(parts[-1].start, rest.stop)
    else:
        parts.append(rest)
    return tuple(
        range(part.start + own.start, part.start + own.stop)
        for part in parts
        for own in cut(len(part), most_tokens, most_tokens // 2)
    )
