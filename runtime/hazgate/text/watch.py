"""A text that grows as a language model writes it, reported as soon as it becomes unsafe."""

from collections.abc import Callable, Sequence

from hazgate.errors import BundleError, InputError
from hazgate.judging.verdict import Verdict
from hazgate.text.growing import DueWindow, GrowingText, Windowing
from hazgate.text.growing_windows import GrowingWindows
from hazgate.text.tokenization import Tokenizer, check_text

# Windows of a large piece that are read before anybody looks at the first verdict.
_MOST_TOGETHER = 32


class Watch:
    """One growing text. Made by `Gate.watch`; for one thread at a time.

    A check reads one window. In a bundle with close windows, those are read, too, as soon as they
    fill. Checks read the windows of the whole text, as they fill, so that the last check, which is
    of the whole, finds their logits in a store. In a short text there are more checks of what is
    new, the first `stride_tokens` apart (see `Windowing`). If a stride was asked for, each check
    reads the window of the newest tokens, and the last check reads the whole again.

    `n_checks` counts the checks so far, and `n_tokens_read` the tokens that they read; a token in
    several checks counts in each. `n_read` are the characters from the beginning that a check has
    read, of `n_characters`: what stands behind them is not judged yet.

    The text becomes unsafe after `n_confirm` checks in a row that flag it, and then stays unsafe:
    what was said cannot be unsaid, and a state that flips back would stop nothing.
    """

    def __init__(
        self,
        check: Callable[[Sequence[DueWindow]], list[Verdict]],
        tokenizer: Tokenizer,
        *,
        max_text_bytes: int,
        stride_tokens: int | None,
        n_confirm: int,
    ) -> None:
        """Use `Gate.watch`.

        Args:
            check: returns the gate's verdict on each of some windows.
            tokenizer: the gate's tokenizer.
            max_text_bytes: the longest that the text may grow, in UTF-8.
            stride_tokens: new tokens between two checks; None begins with a quarter of a window.
            n_confirm: checks in a row that must flag the text.

        Raises:
            BundleError: either number is less than one.
        """
        if n_confirm < 1 or (stride_tokens is not None and stride_tokens < 1):
            raise BundleError(
                "stride_tokens and n_confirm must be at least 1, "
                f"got {stride_tokens} and {n_confirm}"
            )
        self._judge = check
        self._max_text_bytes = max_text_bytes
        windowings = windowings_of(tokenizer, stride_tokens)
        self.stride_tokens = windowings[0].stride_tokens
        self._n_confirm = n_confirm
        self._pieces: list[str] = []
        self._n_bytes = 0
        self._growing = (
            GrowingWindows(tokenizer, windowings[0])
            if stride_tokens is None
            else GrowingText(tokenizer, windowings)
        )
        # Checks in a row that flagged the text, per size of window.
        self._in_row = [0] * len(windowings)
        self._finished = False
        self.n_checks = 0
        self.n_tokens_read = 0
        self.n_read = 0
        self.n_characters = 0
        self.verdict: Verdict | None = None

    @property
    def unsafe(self) -> bool:
        """True if the text has become unsafe."""
        return max(self._in_row) >= self._n_confirm

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
        self.n_characters += len(piece)
        if not self.unsafe:
            self._growing.add(piece)
            due = self._growing.due()
            # What is due together is read together.
            for i in range(0, len(due), _MOST_TOGETHER):
                if self._check(due[i : i + _MOST_TOGETHER]):
                    break
        return self.unsafe

    def finish(self) -> Verdict:
        """Return the verdict on the whole text, read again from its beginning; it takes no more.

        Raises:
            InputError: the text has more tokens than the gate reads.
            InferenceError: the model failed.
        """
        self._finished = True
        text = "".join(self._pieces)
        whole = DueWindow(text=text, start=0, end=len(text), windowing=0)
        (self.verdict,) = self._judge([whole])
        if not self.verdict.truncated:
            self.n_read = self.n_characters
        return self.verdict

    def _check(self, parts: Sequence[DueWindow]) -> bool:
        for part, verdict in zip(parts, self._judge(parts), strict=True):
            self.verdict = verdict.moved(part.start)
            self.n_checks += 1
            self.n_tokens_read += verdict.tokens.read
            if not verdict.truncated:
                self.n_read = max(self.n_read, part.end)
            i = part.windowing
            self._in_row[i] = self._in_row[i] + 1 if verdict.flagged else 0
            if self.unsafe:
                return True
        return False


def windowings_of(tokenizer: Tokenizer, stride_tokens: int | None) -> list[Windowing]:
    """Return the sizes of windows in which a growing text is read: whole ones, then close ones.

    Args:
        tokenizer: of the level that reads the text.
        stride_tokens: new tokens between two checks; None begins with a quarter of a window and
            goes on to a window without the bundle's overlap, where the next one begins.
    """
    # A part that is tokenised by itself may have some tokens more than it had in its text.
    room = max(1, tokenizer.window_tokens - tokenizer.window_tokens // 32)
    if stride_tokens is None:
        shortest = max(1, room // 4)
        longest = max(shortest, tokenizer.window_tokens - tokenizer.overlap_tokens)
    else:
        shortest = longest = stride_tokens
        room = max(room, stride_tokens)
    windowings = [
        Windowing(window_tokens=room, stride_tokens=shortest, longest_stride_tokens=max(1, longest))
    ]
    if tokenizer.close_tokens is not None:
        close = tokenizer.close_tokens
        # Each token stands in one or two of them.
        stride = max(1, min(close * 2 // 3, longest))
        windowings.append(
            Windowing(window_tokens=close, stride_tokens=stride, longest_stride_tokens=stride)
        )
    return windowings
