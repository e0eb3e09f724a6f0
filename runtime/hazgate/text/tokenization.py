"""Text to token ids, exactly as the model's own tokenizer makes them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hazgate.bundle.manifest import TokenizerSpec
from hazgate.errors import BundleError, InputError

if TYPE_CHECKING:
    from tokenizers import Encoding


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What the model reads of a text at once.

    `input_ids` has the special tokens around `n_tokens` of the text's own; `start` and `end` are
    the characters of the text that these span, `end` left out.
    """

    input_ids: tuple[int, ...]
    n_tokens: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """One tokenised text.

    `windows` are in the order of the text, at least one; `close` are the shorter ones of a second
    look at a text of several windows. `n_total` and `n_read` count the text's own tokens, special
    ones left out; they differ when the windows do not reach the text's end.
    """

    windows: tuple[Window, ...]
    close: tuple[Window, ...] = ()
    n_total: int
    n_read: int

    @property
    def every_window(self) -> tuple[Window, ...]:
        """All that the model reads of the text."""
        return self.windows + self.close

    @property
    def truncated(self) -> bool:
        """Whether the end of the text is in no window."""
        return self.n_read < self.n_total

    def first_window(self) -> "Tokens":
        """The same text, of which only the first window is read."""
        first = self.windows[0]
        return Tokens(windows=(first,), n_total=self.n_total, n_read=first.n_tokens)


class Tokenizer:
    """A tokenizer file with its limits. Thread-safe: nothing changes after construction.

    `window_tokens` are those of a text that fit into one window.
    """

    def __init__(self, file: str | os.PathLike[str], spec: TokenizerSpec) -> None:
        """Loads `file`.

        Raises:
            BundleError: the file is no tokenizer, or a window has no room for text.
        """
        import tokenizers

        try:
            fast = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the binding raises plain Exception
            raise BundleError(f"{spec.file} is not a tokenizer file: {error}") from error
        # The file's own limits are training defaults; the manifest's are the served ones.
        fast.no_truncation()
        fast.no_padding()
        fast.encode_special_tokens = spec.special_tokens_in_text == "text"
        self._fast = fast
        n_special = self._n_special = fast.num_special_tokens_to_add(is_pair=False)
        self.window_tokens = spec.window_tokens - n_special
        self._overlap_tokens = spec.overlap_tokens
        self._close_tokens = None if spec.close_tokens is None else spec.close_tokens - n_special
        if self._close_tokens is not None and self._close_tokens < 1:
            raise BundleError(
                f"close_tokens of {spec.close_tokens} leaves no room for text beside the "
                f"tokenizer's {n_special} special tokens"
            )
        if self.window_tokens <= spec.overlap_tokens:
            raise BundleError(
                f"window_tokens of {spec.window_tokens} leaves no room for new text beside the "
                f"tokenizer's {n_special} special tokens and {spec.overlap_tokens} of overlap"
            )

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, in the order given, in as many windows as it takes.

        Raises:
            InputError: an element is not a string, or holds a lone surrogate; says which.
        """
        texts = as_texts(texts)
        for i, text in enumerate(texts):
            check_text(text, f"text {i}")
        return self.encode_checked(texts)

    def encode_checked(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenize texts that have passed `check_text`, and parts of such texts."""
        encodings = self._fast.encode_batch(list(texts), add_special_tokens=True)
        return list(map(self._cut, texts, encodings))

    def _cut(self, text: str, encoding: "Encoding") -> Tokens:
        ids = encoding.ids
        n_tokens = len(ids) - self._n_special
        if n_tokens <= self.window_tokens:
            whole = Window(input_ids=tuple(ids), n_tokens=n_tokens, start=0, end=len(text))
            return Tokens(windows=(whole,), n_total=n_tokens, n_read=n_tokens)
        first = encoding.sequence_ids.index(0) if self._n_special else 0
        tokens = _TextTokens(
            text=text,
            before=ids[:first],
            ids=ids[first : first + n_tokens],
            after=ids[first + n_tokens :],
            offsets=encoding.offsets[first : first + n_tokens],
        )
        windows = tokens.windows(self.window_tokens, self._overlap_tokens)
        close: tuple[Window, ...] = ()
        if self._close_tokens is not None:
            close = tokens.windows(self._close_tokens, self._close_tokens // 2)
        return Tokens(windows=windows, close=close, n_total=n_tokens, n_read=n_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class _TextTokens:
    """A text's own tokens, the characters that each stands for, and the special ones around."""

    text: str
    before: list[int]
    ids: list[int]
    after: list[int]
    offsets: list[tuple[int, int]]

    def windows(self, n_tokens: int, overlap: int) -> tuple[Window, ...]:
        """Runs of `n_tokens`, each of which repeats the last `overlap` of the one before."""
        n_total = len(self.ids)
        starts = range(0, n_total - overlap, n_tokens - overlap)
        return tuple(self._window(start, min(start + n_tokens, n_total)) for start in starts)

    def _window(self, start: int, stop: int) -> Window:
        # What no token stands for, as the space around a text, belongs to the outer windows.
        last = stop == len(self.ids)
        return Window(
            input_ids=(*self.before, *self.ids[start:stop], *self.after),
            n_tokens=stop - start,
            start=0 if start == 0 else self.offsets[start][0],
            end=len(self.text) if last else self.offsets[stop - 1][1],
        )


def as_texts(texts: Iterable[str]) -> list[str]:
    """The texts of any iterable, which may be one that can be read only once.

    Raises:
        InputError: it is one string, whose characters are not meant.
    """
    if isinstance(texts, str):
        raise InputError("expected a sequence of strings, got one string")
    return list(texts)


def check_text(text: object, subject: str) -> int:
    """The length of `text`, which messages call `subject`, in UTF-8 bytes.

    Raises:
        InputError: it is not a string, or not one that UTF-8 can spell.
    """
    if not isinstance(text, str):
        raise InputError(f"{subject}: expected a string, got {type(text).__name__}")
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(
            f"{subject}: lone surrogate at character {error.start}; send well-formed Unicode"
        ) from None
