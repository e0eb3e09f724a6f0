"""Tokenization that is exactly that of the model's own tokenizer."""

import ctypes
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hazgate.bundle.manifest import TokenizerSpec
from hazgate.errors import BundleError, InputError
from hazgate.judging.verdict import TokenCount
from hazgate.text.cuts import cut
from hazgate.text.sentences import sentences
from hazgate.text.unknown import is_understood, letters_of, may_hide

if TYPE_CHECKING:
    import tokenizers
    from tokenizers import Encoding

# Above this size, freed memory is worth the milliseconds that it takes to give it back.
_LARGE_BYTES = 1 << 20
# Unicode assigns it to no character.
_NO_CHARACTER = "\U0010fffe"
# Steps of tokenizers that read each word by itself, as the tokenizers library names them.
_APART_NORMALIZERS = ("NoneType", "BertNormalizer", "Lowercase")
_APART_MODELS = (
    ("BertPreTokenizer", "WordPiece"),
    ("Whitespace", "WordLevel"),
    ("WhitespaceSplit", "WordLevel"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewPart:
    """The part of a view that a window is of: the view's name, and the characters."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The part of a text that the model reads at once.

    `input_ids` has `n_tokens` of the text's own tokens between special ones; they span the
    characters from `start` to before `end`. `n_unknown` of them stand for what the tokenizer does
    not know. `understood` is False if that is most of the window; no close window says so. Of a
    window in a view, `start` and `end` are of the text as written. `is_sentence` marks a
    sentence that is read by itself, see `hazgate.bundle.manifest.TokenizerSpec`.
    """

    input_ids: tuple[int, ...]
    n_tokens: int
    start: int
    end: int
    n_unknown: int = 0
    understood: bool = True
    view: ViewPart | None = None
    is_sentence: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """One tokenised text.

    `windows` are in the order of the text, at least one; `close` has the shorter windows in which
    a text is read again: sentences, or windows on a grid if it has several others. `n_total` and
    `n_read` count the text's tokens without special ones; they differ if the windows do not reach
    the text's end. `n_unknown` of those read are unknown tokens; `understood` is False if they are
    most of what was read, or of one of its windows, see `hazgate.text.unknown`, and no view says it
    in other words.

    `views` has the windows of views beside the text, see `hazgate.text.view_windows`, and
    `views_left_out` names the views, or kinds of disguise, that are not read whole.
    """

    windows: tuple[Window, ...]
    close: tuple[Window, ...] = ()
    views: tuple[Window, ...] = ()
    views_left_out: tuple[str, ...] = ()
    n_total: int
    n_read: int
    n_unknown: int = 0
    understood: bool = True

    @property
    def every_window(self) -> tuple[Window, ...]:
        """All windows that the model reads."""
        return self.windows + self.close + self.views

    @property
    def count(self) -> TokenCount:
        """The counts that an answer carries."""
        return TokenCount(
            total=self.n_total,
            read=self.n_read,
            unknown=self.n_unknown,
            windows=len(self.every_window),
        )

    @property
    def truncated(self) -> bool:
        """True if the end of the text is in no window."""
        return self.n_read < self.n_total

    @classmethod
    def of_window(cls, window: Window) -> "Tokens":
        """Return a window as a text of its own; its characters are counted from its first one."""
        alone = dataclasses.replace(window, start=0, end=window.end - window.start)
        return cls(
            windows=(alone,),
            n_total=window.n_tokens,
            n_read=window.n_tokens,
            n_unknown=window.n_unknown,
            understood=window.understood,
        )

    def without(self, known: Container[int]) -> "Tokens":
        """Return only those windows whose index among all is not in `known`."""
        every = self.every_window
        rest = [window for k, window in enumerate(every) if k not in known]
        return dataclasses.replace(self, windows=tuple(rest), close=(), views=())

    def first_window(self) -> "Tokens":
        """Return the same text with only its first window."""
        first = self.windows[0]
        return Tokens(
            windows=(first,),
            n_total=self.n_total,
            n_read=first.n_tokens,
            n_unknown=first.n_unknown,
            understood=first.understood,
        )


class Tokenizer:
    """A tokenizer file with its limits. Thread-safe: nothing changes after construction.

    `window_tokens` is the number of a text's own tokens that fit into one window, `close_tokens`
    into a close one; None without close windows. A text of at most `alone_tokens` of its own is
    read in one window, and not by its sentences. `unknown_id` is the token for what the tokenizer
    does not know; None if it spells anything. `reads_words_apart` is True if a text has the tokens
    of its parts, wherever it is parted before a space.
    """

    _fast: "tokenizers.Tokenizer"

    def __init__(
        self,
        file: str | os.PathLike[str] | bytes,
        spec: TokenizerSpec,
        *,
        loaded: "Tokenizer | None" = None,
    ) -> None:
        """Load `file`, or take what another tokenizer has loaded.

        Args:
            file: a tokenizer.json, or its bytes.
            spec: its limits.
            loaded: a tokenizer of the same file that treats special tokens as `spec` does.

        Raises:
            BundleError: the file is not a tokenizer, or a window has no room for text.
        """
        fast = _load(file, spec) if loaded is None else loaded._fast
        self._fast = fast
        self.unknown_id = _unknown_id(fast)
        self.reads_words_apart = _reads_words_apart(fast, spec)
        n_special = self._n_special = fast.num_special_tokens_to_add(is_pair=False)
        self.window_tokens = spec.window_tokens - n_special
        self.overlap_tokens = spec.overlap_tokens
        self.close_tokens = None if spec.close_tokens is None else spec.close_tokens - n_special
        if self.close_tokens is not None and self.close_tokens < 1:
            raise BundleError(
                f"close_tokens of {spec.close_tokens} leaves no room for text next to the "
                f"tokenizer's {n_special} special tokens"
            )
        # The most of a text's own tokens that are not read by sentences.
        self.alone_tokens = self.window_tokens
        if self.close_tokens is not None and spec.sentences_from_tokens is not None:
            # A text that a close window holds whole needs no second look.
            alone = max(self.close_tokens, spec.sentences_from_tokens - n_special - 1)
            self.alone_tokens = min(self.window_tokens, alone)
        if self.window_tokens <= spec.overlap_tokens:
            raise BundleError(
                f"window_tokens of {spec.window_tokens} leaves no room for new text next to the "
                f"tokenizer's {n_special} special tokens and {spec.overlap_tokens} of overlap"
            )

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text, in the order given, in as many windows as needed.

        Raises:
            InputError: an element is not a string, or has a lone surrogate; says which.
        """
        texts = as_texts(texts)
        for i, text in enumerate(texts):
            check_text(text, f"text {i}")
        return self.encode_checked(texts)

    def encode_checked(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenize texts that have passed `check_text`, and parts of such texts."""
        encodings = self._fast.encode_batch(list(texts), add_special_tokens=True)
        return list(map(self._cut, texts, encodings))

    def encode_long(self, text: str) -> "tuple[Tokens, TextTokens]":
        """Tokenize a text as `encode_checked` does; return its tokens in one row, too."""
        encoding = self._encoding(text, add_special_tokens=True)
        return self._cut(text, encoding), self._text_tokens(text, encoding, self.unknown_id)

    def _encoding(self, text: str, *, add_special_tokens: bool) -> "Encoding":
        # `encode` holds the interpreter's lock to its end, 15 ms for 16 kB, and `encode_batch` does
        # not: an event loop could do nothing meanwhile.
        (encoding,) = self._fast.encode_batch([text], add_special_tokens=add_special_tokens)
        return encoding

    def knows_all(self, tokens: "TextTokens") -> bool:
        """Return True if a text has nothing that the tokenizer does not know or drops."""
        return self.unknown_id not in tokens.ids and not may_hide(tokens.text)

    def count(self, text: str) -> int:
        """Return the number of a text's own tokens; the text must have passed `check_text`."""
        return len(self._encoding(text, add_special_tokens=False).ids)

    def token_ends(self, text: str) -> list[int]:
        """Return where each of a text's own tokens ends, in characters."""
        return [end for _, end in self._encoding(text, add_special_tokens=False).offsets]

    def text_tokens(self, text: str) -> "TextTokens":
        """Return a text's tokens, to be cut into windows; it must have passed `check_text`."""
        encoding = self._encoding(text, add_special_tokens=True)
        return self._text_tokens(text, encoding, self.unknown_id)

    @property
    def row_tokens(self) -> int:
        """Tokens of a whole window, special ones included."""
        return int(self.window_tokens + self._n_special)

    def pair_tokens(self, context: str, text: str) -> "TextTokens | None":
        """Return a text's tokens behind its context; both must have passed `check_text`.

        All that the tokenizer's template for pairs puts before the text, the context included, is
        `before` its tokens. None if the tokenizer has no such template.
        """
        if self._n_special and not self._fast.num_special_tokens_to_add(is_pair=True):
            return None
        (encoding,) = self._fast.encode_batch([(context, text)], add_special_tokens=True)
        own = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == 1]
        ids = encoding.ids
        # A text without tokens stands behind everything.
        first, end = (own[0], own[-1] + 1) if own else (len(ids), len(ids))
        return TextTokens(
            text=text,
            before=ids[:first],
            ids=ids[first:end],
            after=ids[end:],
            offsets=encoding.offsets[first:end],
            unknown_id=self.unknown_id,
        )

    def _text_tokens(self, text: str, encoding: "Encoding", unknown_id: int | None) -> "TextTokens":
        ids = encoding.ids
        n_tokens = len(ids) - self._n_special
        first = encoding.sequence_ids.index(0) if self._n_special and n_tokens else 0
        return TextTokens(
            text=text,
            before=ids[:first],
            ids=ids[first : first + n_tokens],
            after=ids[first + n_tokens :],
            offsets=encoding.offsets[first : first + n_tokens],
            unknown_id=unknown_id,
        )

    def count_all(self, texts: Sequence[str]) -> int:
        """Return the number of the texts' own tokens together, without cutting windows.

        Raises:
            InputError: as `encode`.
        """
        texts = as_texts(texts)
        for i, text in enumerate(texts):
            check_text(text, f"text {i}")
        encodings = self._fast.encode_batch(texts, add_special_tokens=False)
        return sum(map(len, encodings))

    def _cut(self, text: str, encoding: "Encoding") -> Tokens:
        ids = encoding.ids
        n_tokens = len(ids) - self._n_special
        unknown_id = self.unknown_id
        if unknown_id is not None and not (unknown_id in ids or may_hide(text)):
            unknown_id = None
        if unknown_id is None and n_tokens <= self.alone_tokens:
            # Even a tokenizer that spells everything may drop a text whole.
            understood = n_tokens > 0 or not letters_of(text)
            whole = Window(
                input_ids=tuple(ids),
                n_tokens=n_tokens,
                start=0,
                end=len(text),
                understood=understood,
            )
            return Tokens(
                windows=(whole,), n_total=n_tokens, n_read=n_tokens, understood=understood
            )
        tokens = self._text_tokens(text, encoding, unknown_id)
        windows = tokens.windows(self.window_tokens, self.overlap_tokens)
        close: tuple[Window, ...] = ()
        if self.close_tokens is not None and len(windows) > 1:
            # On a grid, so that those of a text's beginning stay when it grows.
            close = tokens.windows(self.close_tokens, self.close_tokens // 2, is_close=True)
        elif self.close_tokens is not None and n_tokens > self.alone_tokens:
            close = tokens.sentences(self.close_tokens)
        whole = tokens.window(0, n_tokens)
        return Tokens(
            windows=windows,
            close=close,
            n_total=n_tokens,
            n_read=n_tokens,
            n_unknown=whole.n_unknown,
            understood=all(window.understood for window in (whole, *windows)),
        )


def load_tokenizers(
    file: Callable[[str], Path | bytes], specs: Iterable[TokenizerSpec]
) -> dict[TokenizerSpec, Tokenizer]:
    """Load a tokenizer for each of `specs`; those that differ in windows only share one in memory.

    Args:
        file: returns the path or the bytes of a file of the bundle.
        specs: the levels' specifications.

    Raises:
        BundleError: as for Tokenizer.
    """
    by_file: dict[tuple[str, str], Tokenizer] = {}
    found = {}
    for spec in specs:
        key = spec.file, spec.special_tokens_in_text
        loaded = by_file.get(key)
        found[spec] = Tokenizer(b"" if loaded else file(spec.file), spec, loaded=loaded)
        by_file.setdefault(key, found[spec])
    return found


def _load(file: str | os.PathLike[str] | bytes, spec: TokenizerSpec) -> "tokenizers.Tokenizer":
    import tokenizers

    try:
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        fast = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # the binding raises plain Exception
        raise BundleError(f"{spec.file} is not a tokenizer file: {error}") from error
    # The file's own limits are training defaults; the manifest's are the served ones.
    fast.no_truncation()
    fast.no_padding()
    fast.encode_special_tokens = spec.special_tokens_in_text == "text"
    n_bytes = len(content)
    del content, file
    if n_bytes > _LARGE_BYTES:
        _release_freed_memory()
    return fast


def _unknown_id(fast: "tokenizers.Tokenizer") -> int | None:
    """Return the id of the token for what a tokenizer does not know, None if it spells anything.

    The model is asked for a character that no vocabulary has. One that works on bytes drops it or
    writes it in several tokens.
    """
    try:
        tokens = fast.model.tokenize(_NO_CHARACTER)
    except Exception:  # the binding raises plain Exception, where there is no unknown token
        return None
    return tokens[0].id if len(tokens) == 1 else None


def _reads_words_apart(fast: "tokenizers.Tokenizer", spec: TokenizerSpec) -> bool:
    """Return True for tokenizers as BERT's: each of their steps ends at a space.

    Others may, too, but nothing here says so.
    """
    kinds = tuple(type(part).__name__ for part in (fast.normalizer, fast.pre_tokenizer, fast.model))
    if kinds[0] not in _APART_NORMALIZERS or kinds[1:] not in _APART_MODELS:
        return False
    typed = [
        token
        for token in fast.get_added_tokens_decoder().values()
        if not (token.special and spec.special_tokens_in_text == "text")
    ]
    return not any(
        token.lstrip or token.rstrip or token.single_word or re.search(r"\s", token.content)
        for token in typed
    )


def _release_freed_memory() -> None:
    """Give the system back what a large file took while it was parsed: 30 MB for Gemma's.

    The allocator of glibc would keep it for the life of the process. Other allocators do not.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl
            ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTokens:
    """A text's own tokens, the characters of each, and the special tokens around them.

    `unknown_id` is None if no part of the text is unknown.
    """

    text: str
    before: list[int]
    ids: list[int]
    after: list[int]
    offsets: list[tuple[int, int]]
    unknown_id: int | None

    @classmethod
    def empty(cls, unknown_id: int | None) -> "TextTokens":
        """Return the tokens of an empty text, without special ones."""
        return cls(text="", before=[], ids=[], after=[], offsets=[], unknown_id=unknown_id)

    def joined(self, other: "TextTokens") -> "TextTokens":
        """Return the tokens of this text and of the one behind it, as one text."""
        n_characters = len(self.text)
        # A text without tokens does not tell special tokens before it from those behind.
        around = other if other.ids else self
        return TextTokens(
            text=self.text + other.text,
            before=around.before,
            ids=self.ids + other.ids,
            after=around.after,
            offsets=self.offsets
            + [(start + n_characters, end + n_characters) for start, end in other.offsets],
            unknown_id=self.unknown_id,
        )

    def since(self, n_tokens: int, n_characters: int) -> "TextTokens":
        """Return the tokens from number `n_tokens` on; the text from a character on.

        Args:
            n_tokens: that are dropped.
            n_characters: that are dropped; no token behind may begin before.
        """
        return dataclasses.replace(
            self,
            text=self.text[n_characters:],
            ids=self.ids[n_tokens:],
            offsets=[
                (start - n_characters, end - n_characters) for start, end in self.offsets[n_tokens:]
            ],
        )

    def windows(self, n_tokens: int, overlap: int, *, is_close: bool = False) -> tuple[Window, ...]:
        """Cut windows of `n_tokens`; each repeats the last `overlap` tokens of the one before."""
        return tuple(
            self.window(own.start, own.stop, is_close=is_close)
            for own in cut(len(self.ids), n_tokens, overlap)
        )

    def sentences(self, most_tokens: int) -> tuple[Window, ...]:
        """Cut a window of each sentence; one of more than `most_tokens` is several."""
        found = sentences(self.text, self.offsets, most_tokens)
        windows = (self.window(own.start, own.stop, is_close=True) for own in found)
        return tuple(dataclasses.replace(window, is_sentence=True) for window in windows)

    def window(self, start: int, stop: int, *, is_close: bool = False) -> Window:
        """Return the window of the tokens from `start` to before `stop`."""
        # Characters without a token, like spaces around a text, belong to the outer windows.
        begin = 0 if start == 0 else self.offsets[start][0]
        end = len(self.text) if stop == len(self.ids) else self.offsets[stop - 1][1]
        unknown = [] if self.unknown_id is None else self._unknown(start, stop)
        known = self.unknown_id is None or is_close
        return Window(
            input_ids=(*self.before, *self.ids[start:stop], *self.after),
            n_tokens=stop - start,
            start=begin,
            end=end,
            n_unknown=len(unknown),
            understood=known or is_understood(self.text[begin:end], self._pieces(unknown)),
        )

    def _unknown(self, start: int, stop: int) -> list[int]:
        """Return the positions of unknown tokens from `start` to before `stop`."""
        return [i for i in range(start, stop) if self.ids[i] == self.unknown_id]

    def _pieces(self, positions: Iterable[int]) -> list[str]:
        """Return the characters of some tokens."""
        return [self.text[slice(*self.offsets[i])] for i in positions]


def as_texts(texts: Iterable[str]) -> list[str]:
    """Return the texts of any iterable, even one that can be read only once.

    Raises:
        InputError: `texts` is a single string.
    """
    if isinstance(texts, str):
        raise InputError("expected a sequence of strings, got one string")
    return list(texts)


def check_text(text: object, subject: str) -> int:
    """Return the length of `text` in UTF-8 bytes; errors call the text `subject`.

    Raises:
        InputError: it is not a string, or has a lone surrogate.
    """
    if not isinstance(text, str):
        raise InputError(f"{subject}: expected a string, got {type(text).__name__}")
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(
            f"{subject}: lone surrogate at character {error.start}; send well-formed Unicode"
        ) from None
