"""A text that grows, cut into the windows to read next. Pure: reads nothing itself."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hazgate.text.tokenization import Tokenizer, Tokens

# A token stands for at most so many characters of the text; else a run of letters that is one
# unknown word, or spaces that are no token at all, would never be read.
CHARACTERS_PER_TOKEN = 16
# A word that is longer is not waited for.
_MAX_WORD = 256
# The last space; it goes with the word behind it, as tokenizers have it.
_SPACE = re.compile(r"\s(?=\S*\Z)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Windowing:
    """Sizes of the windows in which a growing text is read, in tokens without special ones.

    A window of at most `window_tokens` is due after `stride_tokens` new tokens. As the text grows,
    so does the distance, to one eighth of the text and at most to `longest_stride_tokens`: the
    first words are answered soon, and a long text costs little.
    """

    window_tokens: int
    stride_tokens: int
    longest_stride_tokens: int

    def stride(self, n_tokens: int) -> int:
        """Return the new tokens after which a text of `n_tokens` is read again."""
        return min(max(self.stride_tokens, n_tokens // 8), self.longest_stride_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class DueWindow:
    """A window of a growing text: characters from `start` to before `end` of the whole.

    `windowing` is the index of the windowing that it belongs to. `tokens` are those of the window
    as it stands in the whole; without them it is a text to tokenise.
    """

    text: str
    start: int
    end: int
    windowing: int
    tokens: Tokens | None = None


def end_of_words(text: str, space: re.Pattern[str]) -> int:
    """Return the end of the words of a growing text that have ended; 0 if none has.

    Args:
        text: the words so far.
        space: finds where the last word begins.
    """
    found = space.search(text)
    end = found.start() if found else 0
    return len(text) if len(text) - end > _MAX_WORD else end


class GrowingText:
    """One growing text and what of it has been handed out to be read.

    Tokens are counted as pieces come, word by word: no text is tokenised more often than its
    windows overlap. Not for several threads at a time.
    """

    def __init__(self, tokenizer: Tokenizer, windowings: Sequence[Windowing]) -> None:
        """Start with an empty text, to be read in each of `windowings`."""
        self._tokenizer = tokenizer
        self._rulers = [_Ruler(windowing) for windowing in windowings]
        # The end of the text, from the first character that a window still to come may hold.
        self._tail = ""
        self._tail_start = 0
        # A word at the end, whose tokens are not counted yet.
        self._word = ""
        self._n_tokens = 0
        self.n_characters = 0

    @property
    def n_read(self) -> int:
        """Characters from the beginning that were handed out."""
        return max(ruler.end for ruler in self._rulers)

    @property
    def n_new(self) -> int:
        """Tokens that came since the last window, as far as their words have ended."""
        return self._rulers[0].n_new

    def add(self, piece: str) -> None:
        """Add the next piece; it must be a well-formed string."""
        self._tail += piece
        self.n_characters += len(piece)
        self._word += piece
        cut = end_of_words(self._word, _SPACE)
        if cut:
            n_tokens = self._count(self._word[:cut])
            self._word = self._word[cut:]
            self._n_tokens += n_tokens
            for ruler in self._rulers:
                ruler.n_new += n_tokens

    def due(self) -> list[DueWindow]:
        """Return the windows that have filled since they were last asked for."""
        parts = [
            part
            for i in range(len(self._rulers))
            if self._rulers[i].n_new >= self._stride(i)
            for part in self._parts(i, everything=False)
        ]
        self._forget()
        return parts

    def rest(self) -> list[DueWindow]:
        """Return windows that hold all that was not read, full or not."""
        parts = [
            part
            for i, ruler in enumerate(self._rulers)
            if ruler.end < self.n_characters
            for part in self._parts(i, everything=True)
        ]
        self._forget()
        return parts

    def _stride(self, i: int) -> int:
        return self._rulers[i].windowing.stride(self._n_tokens)

    def _count(self, text: str) -> int:
        return max(self._tokenizer.count(text), len(text) // CHARACTERS_PER_TOKEN)

    def _parts(self, i: int, *, everything: bool) -> Iterator[DueWindow]:
        """Cut the windows of one size, and move its ruler."""
        ruler = self._rulers[i]
        size = ruler.windowing.window_tokens
        stride = self._stride(i)
        text = self._tail[ruler.start - self._tail_start :]
        ends = self._tokenizer.token_ends(text)
        base, first, begin = ruler.start, 0, 0
        while True:
            is_last = first + size >= len(ends)
            end = len(text) if is_last else ends[first + size - 1]
            yield DueWindow(text=text[begin:end], start=base + begin, end=base + end, windowing=i)
            n_left = max(0, len(ends) - first - size)
            # The next window begins with the end of this one.
            kept = size - stride
            last = min(first + size, len(ends))
            first = max(first, last - kept)
            begin = max(begin, end - kept * CHARACTERS_PER_TOKEN, ends[first - 1] if first else 0)
            ruler.start, ruler.end = base + begin, base + end
            ruler.n_new = n_left
            if is_last or (not everything and n_left < stride):
                return

    def _forget(self) -> None:
        start = min(ruler.start for ruler in self._rulers)
        self._tail = self._tail[start - self._tail_start :]
        self._tail_start = start


def held_characters(tokenizer: Tokenizer, text: str, n_tokens: int) -> int:
    """Return how many characters at the end of a growing text to hold back.

    They hold the last `n_tokens` tokens, and the last window: what the window says may still
    change.
    """
    end = text[-n_tokens * CHARACTERS_PER_TOKEN :]
    ends = tokenizer.token_ends(end)
    held = len(end) if len(ends) <= n_tokens else len(end) - ends[-n_tokens - 1]
    (tokens,) = tokenizer.encode_checked([text])
    return max(held, len(text) - max(window.start for window in tokens.windows))


class _Ruler:
    """The progress of one windowing: the next window's start, the last one's end, new tokens."""

    __slots__ = ("end", "n_new", "start", "windowing")

    def __init__(self, windowing: Windowing) -> None:
        self.windowing = windowing
        self.start = 0
        self.end = 0
        self.n_new = 0
