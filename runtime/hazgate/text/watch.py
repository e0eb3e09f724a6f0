"""A text that grows as a language model writes it, reported as soon as it becomes unsafe."""

import dataclasses
from collections.abc import Callable

from hazgate.errors import BundleError, InputError
from hazgate.judging.verdict import Span, Verdict
from hazgate.text.tokenization import Tokenizer, Tokens, check_text


class Watch:
    """One growing text. Made by `Gate.watch`; for one thread at a time.

    A check comes after every `stride_tokens` new tokens. It reads again only the trailing window,
    at most two windows in all. So each token is read at most
    (window_tokens + stride_tokens) / stride_tokens times, however long the text; three times that
    if the bundle has close windows.

    `n_checks` counts the checks so far, and `n_tokens_read` the tokens that they read; a token in
    several checks counts in each.

    The text becomes unsafe after `n_confirm` checks in a row that flag it, and then stays unsafe:
    what was said cannot be unsaid, and a state that flips back would stop nothing.
    """

    def __init__(
        self,
        check: Callable[[str], Verdict],
        tokenizer: Tokenizer,
        *,
        max_text_bytes: int,
        stride_tokens: int,
        n_confirm: int,
    ) -> None:
        """Use `Gate.watch`.

        Args:
            check: returns the gate's verdict on a text.
            tokenizer: the gate's tokenizer.
            max_text_bytes: the longest that the text may grow, in UTF-8.
            stride_tokens: new tokens between two checks.
            n_confirm: checks in a row that must flag the text.

        Raises:
            BundleError: either number is less than one.
        """
        if stride_tokens < 1 or n_confirm < 1:
            raise BundleError(
                "stride_tokens and n_confirm must be at least 1, "
                f"got {stride_tokens} and {n_confirm}"
            )
        self._judge = check
        self._tokenizer = tokenizer
        self._max_text_bytes = max_text_bytes
        self.stride_tokens = stride_tokens
        self._n_confirm = n_confirm
        self._pieces: list[str] = []
        self._n_bytes = 0
        # The trailing window, its start in the text, and the part that no check has read.
        self._tail = ""
        self._tail_start = 0
        self._new = ""
        self._n_unsafe = 0
        self._finished = False
        self.n_checks = 0
        self.n_tokens_read = 0
        self.verdict: Verdict | None = None

    @property
    def unsafe(self) -> bool:
        """True if the text has become unsafe."""
        return self._n_unsafe >= self._n_confirm

    def add(self, piece: str) -> bool:
        """Add the next piece, and return True if the text has become unsafe.

        `verdict` is then that of the newest check; its span is in the whole text.

        Raises:
            InputError: the piece is not a well-formed string, the text has grown too long, or it
                was finished.
            InferenceError: the model failed.
        """
        if self._finished:
            raise InputError("this text is finished; begin another with gate.watch()")
        self._n_bytes += check_text(piece, "piece")
        if self._n_bytes > self._max_text_bytes:
            raise InputError(
                f"the text has grown to {self._n_bytes} bytes, "
                f"at most {self._max_text_bytes} are taken"
            )
        self._pieces.append(piece)
        if not self.unsafe:
            self._tail += piece
            self._new += piece
            if self._encode(self._new).n_total >= self.stride_tokens:
                self._check()
        return self.unsafe

    def finish(self) -> Verdict:
        """Return the verdict on the whole text, read again from its beginning; it takes no more.

        Raises:
            InputError: the text has more tokens than the gate reads.
            InferenceError: the model failed.
        """
        self._finished = True
        self.verdict = self._judge("".join(self._pieces))
        return self.verdict

    def _check(self) -> None:
        verdict = self._judge(self._tail)
        start, end = (self._tail_start + at for at in (verdict.span.start, verdict.span.end))
        self.verdict = dataclasses.replace(verdict, span=Span(start=start, end=end))
        self.n_checks += 1
        self.n_tokens_read += verdict.tokens.read
        self._n_unsafe = self._n_unsafe + 1 if verdict.flagged else 0
        # The last window may still grow; the text before it is done.
        kept = self._encode(self._tail).windows[-1].start
        self._tail_start += kept
        self._tail = self._tail[kept:]
        self._new = ""

    def _encode(self, text: str) -> Tokens:
        # Every piece was checked as it came.
        (tokens,) = self._tokenizer.encode_checked([text])
        return tokens
