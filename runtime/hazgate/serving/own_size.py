"""The limits of one request's own size. A request that fails by its own size is refused for it.

If such a failure counted as overload or as a late answer, anyone could pass a route that fails open
by sending more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hazgate.errors import InputError

# Texts that are tokenised at once while their tokens are counted.
_COUNTED_CHARACTERS = 65_536
# Tokens that a byte of text costs the engine at most, overlaps and close windows included, and the
# special tokens of a text.
_TOKENS_PER_BYTE = 4
_TOKENS_PER_TEXT = 4
# Share of a request's time that its own work may take. The rest is for what waits before it, and
# for the second level.
_OWN_SHARE = 0.5
_SECONDS_PER_TEXT = 0.0002


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnWork:
    """The work of one request: its texts, the tokens that the engine reads, the longest text's."""

    n_texts: int
    n_tokens: int
    longest_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnLimits:
    """The limits that a request's own work must keep, at the engine's present speed.

    A request that fits into one batch of `max_batch_tokens` keeps all of them.
    """

    seconds_per_token: float
    timeout_s: float
    max_batch_tokens: int
    max_queue_tokens: int


def size_bytes(texts: Sequence[str]) -> int:
    """Return the size of texts in UTF-8."""
    return sum(
        len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        for text in texts
    )


def check_tokens(texts: Sequence[str], count: Callable[[Sequence[str]], int], most: int) -> None:
    """Refuse texts that have more tokens than one request may have; count no further than that.

    Args:
        texts: all texts of the request.
        count: returns the tokens of some texts.
        most: the setting `request.max_tokens`.

    Raises:
        InputError: there are more.
    """
    n_tokens = 0
    start = 0
    while start < len(texts):
        end, n_characters = start, 0
        while end < len(texts) and (end == start or n_characters < _COUNTED_CHARACTERS):
            n_characters += len(texts[end])
            end += 1
        n_tokens += count(texts[start:end])
        start = end
        if n_tokens > most:
            least = "" if end == len(texts) else "at least "
            raise InputError(
                f"the request has {least}{n_tokens} tokens ({size_bytes(texts)} bytes in "
                f"{len(texts)} texts), at most {most} are read; send less, or raise "
                "request.max_tokens"
            )


def most_work(texts: Sequence[str]) -> OwnWork:
    """Return the most work that texts can be, without tokenising them."""
    sizes = [size_bytes((text,)) for text in texts]
    return OwnWork(
        n_texts=len(texts),
        n_tokens=_TOKENS_PER_BYTE * sum(sizes) + _TOKENS_PER_TEXT * len(texts),
        longest_tokens=_TOKENS_PER_BYTE * max(sizes, default=0) + _TOKENS_PER_TEXT,
    )


def excess(work: OwnWork, limits: OwnLimits) -> InputError | None:
    """Return why a request cannot count on an answer even of an idle engine, or None."""
    if work.n_tokens <= limits.max_batch_tokens:
        return None
    own_s = work.n_tokens * limits.seconds_per_token + work.n_texts * _SECONDS_PER_TEXT
    if own_s > _OWN_SHARE * limits.timeout_s:
        return InputError(
            f"the request's own {work.n_tokens} tokens in {work.n_texts} texts, overlaps "
            f"included, take about {own_s:.3g} s, over half of the {limits.timeout_s:.3g} s in "
            "which it must be answered; send less, or raise request.timeout_s and the gateway's "
            "own timeout"
        )
    if work.longest_tokens > _OWN_SHARE * limits.max_queue_tokens:
        return InputError(
            f"one text of the request has {work.longest_tokens} tokens, overlaps included, over "
            f"half of the {limits.max_queue_tokens} that may wait; send less, or raise "
            "queue.max_queue_tokens"
        )
    return None
