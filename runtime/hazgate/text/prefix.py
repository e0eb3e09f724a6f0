"""The beginning of a long text, which stays as it is when the text grows. Pure.

A tokenizer that reads words apart from one another reads the beginning of a text the same whatever
comes behind a space. So the windows in it are known, and only the end has to be tokenised.
"""

import dataclasses
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.text.outline import pack, unpack
from hazgate.text.tokenization import TextTokens, Tokenizer, Tokens, Window

# Characters from one place at which a beginning may end to the next.
STEP = 2048
# Places, from the end of a text, that are looked for.
_N_LAST = 8
_LONGEST_WORD = 256
_BOUNDARY = re.compile(r"\S[ \n]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """The windows that end within the beginning of a text, without token ids, and their keys.

    The other windows begin no sooner than token number `n_tokens`, at character `n_characters`.
    """

    n_characters: int
    n_tokens: int
    windows: tuple[Window, ...]
    close: tuple[Window, ...]
    keys: tuple[bytes, ...]

    def pack(self) -> bytes:
        """Return the same as bytes."""
        tokens = Tokens(
            windows=self.windows, close=self.close, n_total=self.n_tokens, n_read=self.n_characters
        )
        return pack(tokens, self.keys)

    def keys_among(self, keys: Sequence[bytes], n_windows: int) -> tuple[bytes, ...]:
        """Return the keys of a text, with these in place of those made without token ids.

        Args:
            keys: of every window of the text.
            n_windows: of them that are no close ones.
        """
        n_own = len(self.windows)
        return (
            *self.keys[:n_own],
            *keys[n_own:n_windows],
            *self.keys[n_own:],
            *keys[n_windows + len(self.close) :],
        )

    @classmethod
    def unpack(cls, packed: bytes) -> "Prefix":
        """Return what `pack` has packed."""
        tokens, keys = unpack(packed)
        return cls(
            n_characters=tokens.n_read,
            n_tokens=tokens.n_total,
            windows=tokens.windows,
            close=tokens.close,
            keys=keys,
        )


def ends_of_prefixes(text: str) -> list[int]:
    """Return the places at which the beginning of a text may end, the last ones first.

    Each depends only on the characters before it.
    """
    ends = []
    for at in range(len(text) // STEP * STEP, 0, -STEP):
        found = _BOUNDARY.search(text, at, at + _LONGEST_WORD)
        if found is not None:
            ends.append(found.start() + 1)
        if len(ends) == _N_LAST:
            break
    return ends


def prefix_of(
    whole: Tokens,
    keys: Sequence[bytes],
    read: TextTokens,
    tokenizer: Tokenizer,
    end: int,
    before: Prefix | None = None,
) -> Prefix | None:
    """Return what to keep of a text's beginning; None if it has no whole window.

    Args:
        whole: the text's windows.
        keys: of every window.
        read: the text's tokens, or those behind a beginning that was known.
        tokenizer: cut the windows.
        end: a place of `ends_of_prefixes`.
        before: the beginning that was known.
    """
    base_characters, base = (before.n_characters, before.n_tokens) if before else (0, 0)
    starts = [start for start, _ in read.offsets]
    # Without the last token: its window would end with the text, if nothing came behind it.
    n_tokens = base + bisect_left(starts, end - base_characters) - 1
    n_windows, following = _whole(n_tokens, tokenizer.window_tokens, tokenizer.overlap_tokens)
    close_tokens = tokenizer.close_tokens
    n_close = 0
    if close_tokens is not None:
        n_close, following_close = _whole(n_tokens, close_tokens, close_tokens // 2)
        following = min(following, following_close)
    n_all = len(whole.windows)
    if not n_windows or n_all < 2 or not base <= following < base + len(starts):
        return None
    first = starts[following - base]
    spaces = list(_BOUNDARY.finditer(read.text, max(0, first - _LONGEST_WORD), first + 1))
    if not spaces:
        return None
    again = spaces[-1].start() + 1
    return Prefix(
        n_characters=base_characters + again,
        n_tokens=base + bisect_left(starts, again),
        windows=whole.windows[:n_windows],
        close=whole.close[:n_close],
        keys=(*keys[:n_windows], *keys[n_all : n_all + n_close]),
    )


def grown(text: str, prefix: Prefix, tokenizer: Tokenizer) -> tuple[Tokens, TextTokens] | None:
    """Return the tokens of a text that begins with a known beginning, and those behind it.

    The windows of the beginning have no token ids. None if the end has what the tokenizer does not
    know: then the whole text must be looked at.
    """
    end = tokenizer.text_tokens(text[prefix.n_characters :])
    if not tokenizer.knows_all(end):
        return None
    n_total = prefix.n_tokens + len(end.ids)

    def windows(known: tuple[Window, ...], size: int, overlap: int) -> tuple[Window, ...]:
        starts = range(0, n_total - overlap, size - overlap)[len(known) :]
        return known + tuple(
            _in_whole(end, prefix, start, min(start + size, n_total)) for start in starts
        )

    every = windows(prefix.windows, tokenizer.window_tokens, tokenizer.overlap_tokens)
    close = tokenizer.close_tokens
    return Tokens(
        windows=every,
        close=() if close is None or len(every) < 2 else windows(prefix.close, close, close // 2),
        n_total=n_total,
        n_read=n_total,
    ), end


def _in_whole(end: TextTokens, prefix: Prefix, start: int, stop: int) -> Window:
    """Return a window of the whole text, cut from its end."""
    first = start - prefix.n_tokens
    window = end.window(first, stop - prefix.n_tokens)
    return dataclasses.replace(
        window,
        start=prefix.n_characters + end.offsets[first][0],
        end=prefix.n_characters + window.end,
    )


def _whole(n_tokens: int, size: int, overlap: int) -> tuple[int, int]:
    """Return how many windows end within so many tokens, and the start of the next one."""
    step = size - overlap
    n_windows = max(0, (n_tokens - size) // step + 1)
    return n_windows, n_windows * step
