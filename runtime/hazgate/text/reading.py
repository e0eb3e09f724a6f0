"""Limits on the texts that are read, and the treatment of long ones."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hazgate.bundle.manifest import TokenizerSpec
from hazgate.errors import BundleError, InputError
from hazgate.text.tokenization import Tokens, check_text
from hazgate.text.views.names import NAMES

LongTexts = Literal["window", "truncate", "reject"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The treatment of texts: of long ones, and of disguises.

    Attributes:
        long_texts: "window" reads them whole, in overlapping windows; "truncate" reads the first
            window and says so in the verdict; "reject" refuses them.
        max_text_bytes: texts that are longer in UTF-8 are refused before tokenization, whose cost
            is linear in a text's length.
        max_text_tokens: texts with more tokens are refused, unless only their beginning is read.
        window_tokens: tokens of a window, special ones included, in place of the bundle's: more
            context at once, or shorter passages to point at. At most the bundle's max_tokens.
        sentences_from_tokens: tokens of the shortest text, special ones included, that is also read
            sentence by sentence, in place of the bundle's. More cost less time, and leave longer
            texts in which a sentence can hide. Means nothing for a bundle without close windows.
        views: kinds of disguise that a gate undoes beside the text, see `hazgate.text.views`;
            empty for none.
    """

    long_texts: LongTexts = "window"
    max_text_bytes: int = 1 << 20
    max_text_tokens: int = 1 << 17
    window_tokens: int | None = None
    sentences_from_tokens: int | None = None
    views: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        """Refuse views that do not exist, and a length that no text has.

        Raises:
            BundleError: names all of them.
        """
        if self.sentences_from_tokens is not None and self.sentences_from_tokens < 1:
            raise BundleError(
                f"sentences_from_tokens must be at least 1, got {self.sentences_from_tokens}"
            )
        unknown = [name for name in self.views if name not in NAMES]
        if unknown:
            raise BundleError(f"no such view: {', '.join(unknown)}; there are {', '.join(NAMES)}")

    def windows_of(self, spec: TokenizerSpec) -> TokenizerSpec:
        """Return `spec` with the requested windows.

        Raises:
            BundleError: the bundle was not proven on such windows.
        """
        if self.sentences_from_tokens is not None and spec.close_tokens is not None:
            spec = dataclasses.replace(spec, sentences_from_tokens=self.sentences_from_tokens)
        if self.window_tokens is None:
            return spec
        if not spec.overlap_tokens < self.window_tokens <= spec.max_tokens:
            raise BundleError(
                f"window_tokens must be over the bundle's overlap of {spec.overlap_tokens} and at "
                f"most its max_tokens of {spec.max_tokens}, got {self.window_tokens}"
            )
        return dataclasses.replace(spec, window_tokens=self.window_tokens)


def within(spec: TokenizerSpec, max_tokens: int) -> TokenizerSpec:
    """Return `spec` with windows of at most `max_tokens`, for hosts that take no longer rows."""
    window = min(spec.window_tokens, max_tokens)
    close = spec.close_tokens
    return dataclasses.replace(
        spec,
        window_tokens=window,
        overlap_tokens=min(spec.overlap_tokens, window // 4),
        close_tokens=close if close is not None and close < window else None,
    )


def check_sizes(texts: Sequence[str], reading: Reading) -> None:
    """Refuse texts of too many bytes.

    Raises:
        InputError: a text is too long, or not a well-formed string; says which.
    """
    for i, text in enumerate(texts):
        size_bytes = check_text(text, f"text {i}")
        if size_bytes > reading.max_text_bytes:
            raise InputError(
                f"text {i}: {size_bytes} bytes, at most {reading.max_text_bytes} are taken; "
                "split it, or open the gate with a larger max_text_bytes"
            )


def choose_windows(tokens: Sequence[Tokens], reading: Reading) -> list[Tokens]:
    """Return each text with only the windows to read.

    Raises:
        InputError: a text has too many tokens, or more than one window although long texts are
            refused; says which.
    """
    if reading.long_texts == "truncate":
        return [text.first_window() if len(text.windows) > 1 else text for text in tokens]
    for i, text in enumerate(tokens):
        if text.n_total > reading.max_text_tokens:
            raise InputError(
                f"text {i}: {text.n_total} tokens, at most {reading.max_text_tokens} are read; "
                "split it, or open the gate with a larger max_text_tokens"
            )
        if reading.long_texts == "reject" and len(text.windows) > 1:
            raise InputError(
                f"text {i}: {text.n_total} tokens, at most {text.windows[0].n_tokens} fit into "
                'one window; split it, or open the gate with long_texts="window"'
            )
    return list(tokens)
