"""Text to token ids, exactly as the model's own tokenizer makes them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hazgate.errors import BundleError, InputError
from hazgate.manifest import TokenizerSpec

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
        n_special = fast.num_special_tokens_to_add(is_pair=False)
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
        encodings = self._fast.encode_batch_fast(texts, add_special_tokens=False)
        return [
            self._cut(text, len(encoding))
            if len(encoding) > self.window_tokens
            else self._whole(text, encoding)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _whole(self, text: str, encoding: "Encoding") -> Tokens:
        n_tokens = len(encoding)
        window = self._window(encoding, n_tokens, 0, len(text))
        return Tokens(windows=(window,), n_total=n_tokens, n_read=n_tokens)

    def _cut(self, text: str, n_total: int) -> Tokens:
        # Again, for the quick way to encode does not say where in the text a token stands.
        encoding = self._fast.encode(text, add_special_tokens=False)
        encoding.truncate(self.window_tokens, stride=self._overlap_tokens)
        close: tuple[Window, ...] = ()
        if self._close_tokens is not None:
            again = self._fast.encode(text, add_special_tokens=False)
            again.truncate(self._close_tokens, stride=self._close_tokens // 2)
            close = self._windows(text, again)
        return Tokens(
            windows=self._windows(text, encoding), close=close, n_total=n_total, n_read=n_total
        )

    def _windows(self, text: str, encoding: "Encoding") -> tuple[Window, ...]:
        parts = (encoding, *encoding.overflowing)
        # What no token stands for, as the space around a text, belongs to the outer windows.
        starts = (0, *(part.offsets[0][0] for part in parts[1:]))
        ends = (*(part.offsets[-1][1] for part in parts[:-1]), len(text))
        return tuple(map(self._window, parts, map(len, parts), starts, ends))

    def _window(self, encoding: "Encoding", n_tokens: int, start: int, end: int) -> Window:
        ids = self._fast.post_process(encoding, None, add_special_tokens=True).ids
        return Window(input_ids=tuple(ids), n_tokens=n_tokens, start=start, end=end)


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
