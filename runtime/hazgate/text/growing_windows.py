"""A text that grows, cut into the windows that a check of the whole will read. Pure.

A window is handed out in the whole text's own tokens, as soon as it has filled. So whoever keeps
logits has read the whole text when it ends, but for its last window.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hazgate.text.growing import CHARACTERS_PER_TOKEN, DueWindow, Windowing, end_of_words
from hazgate.text.tokenization import TextTokens, Tokenizer, Tokens

# The last space behind a word: the spaces go with the word behind them, as tokenizers have it.
_SPACE = re.compile(r"(?<=\S)\s(?=\s*\S*\Z)")


@dataclass(kw_only=True, slots=True)
class _Grid:
    """Windows of one size, a fixed step apart; `start` is the next one's first token."""

    size: int
    step: int
    start: int = 0


class GrowingWindows:
    """One growing text and what of it has been handed out to be read.

    Words are tokenised once, as they end, and only the end of the text is kept. While a text has
    few windows, what came since the last one is handed out sooner, see `Windowing.stride`. Not for
    several threads at a time.
    """

    def __init__(self, tokenizer: Tokenizer, windowing: Windowing) -> None:
        """Start with an empty text.

        Args:
            tokenizer: of the level that reads the text.
            windowing: the distances between windows of a text that is still short.
        """
        self._tokenizer = tokenizer
        self._windowing = windowing
        size = tokenizer.window_tokens
        self._grids = [_Grid(size=size, step=size - tokenizer.overlap_tokens)]
        close = tokenizer.close_tokens
        if close is not None:
            self._grids.append(_Grid(size=close, step=close - close // 2))
        # The tokens from number `_first` on, and the text from their first character on.
        self._kept = TextTokens.empty(tokenizer.unknown_id)
        self._first = 0
        self._kept_start = 0
        # A word at the end, which is not tokenised yet.
        self._word = ""
        # Tokens and characters from the beginning that were handed out in whole windows.
        self._end = 0
        self.n_read = 0
        self.n_characters = 0

    def add(self, piece: str) -> None:
        """Add the next piece; it must be a well-formed string."""
        self.n_characters += len(piece)
        self._word += piece
        cut = end_of_words(self._word, _SPACE)
        if cut:
            self._kept = self._kept.joined(self._tokenizer.text_tokens(self._word[:cut]))
            self._word = self._word[cut:]

    def due(self) -> list[DueWindow]:
        """Return the windows that have filled since they were last asked for, in their order."""
        windows = [*self._filled(0)] if self._is_due else []
        if self._is_due:
            windows += self._newest()
        for i in range(1, len(self._grids)):
            windows += self._filled(i)
        self._forget()
        return sorted(windows, key=lambda window: window.end)

    @property
    def _n_tokens(self) -> int:
        return self._first + len(self._kept.ids)

    @property
    def _is_due(self) -> bool:
        """True if as many tokens came since the last whole window as may."""
        n_characters = self.n_characters - len(self._word) - self.n_read
        n_new = max(self._n_tokens - self._end, n_characters // CHARACTERS_PER_TOKEN)
        return n_new >= self._windowing.stride(self._n_tokens)

    def _filled(self, i: int) -> Iterator[DueWindow]:
        """Hand out the windows of one size that have filled."""
        grid = self._grids[i]
        while grid.start + grid.size <= self._n_tokens:
            stop = grid.start + grid.size
            window = self._window(i, self._kept, grid.start - self._first, stop - self._first)
            grid.start += grid.step
            if i == 0:
                self._end = max(self._end, stop)
            self.n_read = max(self.n_read, window.end)
            yield window

    def _newest(self) -> Iterator[DueWindow]:
        """Hand out the window of the newest tokens, those of a word that goes on included.

        They may be more than a window since the last one; then others come before it.
        """
        tokens = self._kept.joined(self._tokenizer.text_tokens(self._word))
        grid, stop = self._grids[0], len(tokens.ids)
        # With some of the last one, so that nothing between two tokens is left out.
        start = max(0, self._end - self._first - (grid.size - grid.step))
        while stop - start > grid.size:
            yield self._window(0, tokens, start, start + grid.size)
            start += grid.step
        # Spaces alone are no tokens, and no window reads them.
        if not stop:
            return
        yield self._window(0, tokens, max(0, stop - grid.size), stop)
        self._end = self._n_tokens
        self.n_read = self.n_characters

    def _window(self, i: int, tokens: TextTokens, start: int, stop: int) -> DueWindow:
        window = tokens.window(start, stop)
        text = tokens.text[window.start : window.end]
        base = self._kept_start
        return DueWindow(
            text=text,
            start=base + window.start,
            end=base + window.end,
            windowing=i,
            tokens=Tokens.of_window(window),
        )

    def _forget(self) -> None:
        """Drop the tokens that no window can hold any more."""
        if not self._kept.ids:
            self._kept_start += len(self._kept.text)
            self._kept = TextTokens.empty(self._tokenizer.unknown_id)
        newest = self._n_tokens - self._grids[0].size
        first = max(self._first, min(newest, *(grid.start for grid in self._grids)))
        if first > self._first:
            n_characters = self._kept.offsets[first - self._first - 1][1]
            self._kept = self._kept.since(first - self._first, n_characters)
            self._first = first
            self._kept_start += n_characters
