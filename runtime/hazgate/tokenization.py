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
class Tokens:
    """One tokenised text.

    `input_ids` has the special tokens around the text and at most `max_tokens` ids.
    `n_total` and `n_read` count the text's own tokens, special ones left out; they differ when
    the text was longer than the model's limit.
    """

    input_ids: tuple[int, ...]
    n_total: int
    n_read: int

    @property
    def truncated(self) -> bool:
        """Whether the end of the text was not read."""
        return self.n_read < self.n_total


class Tokenizer:
    """A tokenizer file with its limits. Thread-safe: nothing changes after construction."""

    def __init__(self, file: str | os.PathLike[str], spec: TokenizerSpec) -> None:
        """Loads `file`.

        Raises:
            BundleError: the file is no tokenizer, or `max_tokens` leaves no room for text.
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
        self._max_text_tokens = spec.max_tokens - fast.num_special_tokens_to_add(is_pair=False)
        if self._max_text_tokens < 1:
            raise BundleError(
                f"max_tokens of {spec.max_tokens} leaves no room for text beside the "
                f"tokenizer's {spec.max_tokens - self._max_text_tokens} special tokens"
            )

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, in the order given.

        Raises:
            InputError: an element is not a string, or holds a lone surrogate; says which.
        """
        texts = as_texts(texts)
        for i, text in enumerate(texts):
            check_text(text, i)
        encodings = self._fast.encode_batch_fast(texts, add_special_tokens=False)
        return [self._finish(encoding) for encoding in encodings]

    def _finish(self, encoding: "Encoding") -> Tokens:
        n_total = len(encoding)
        encoding.truncate(self._max_text_tokens)
        n_read = len(encoding)
        ids = self._fast.post_process(encoding, None, add_special_tokens=True).ids
        return Tokens(input_ids=tuple(ids), n_total=n_total, n_read=n_read)


def as_texts(texts: Iterable[str]) -> list[str]:
    """The texts of any iterable, which may be one that can be read only once.

    Raises:
        InputError: it is one string, whose characters are not meant.
    """
    if isinstance(texts, str):
        raise InputError("expected a sequence of strings, got one string")
    return list(texts)


def check_text(text: object, index: int) -> int:
    """The length of `text` in UTF-8 bytes.

    Raises:
        InputError: it is not a string, or not one that UTF-8 can spell.
    """
    if not isinstance(text, str):
        raise InputError(f"text {index}: expected a string, got {type(text).__name__}")
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(
            f"text {index}: lone surrogate at character {error.start}; send well-formed Unicode"
        ) from None
