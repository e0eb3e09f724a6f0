"""The limits of one request's own size. A request that fails by its own size is refused for it.

If such a failure counted as overload or as a late answer, anyone could pass a route that fails open
by sending more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hazgate.errors import InputError

# Texts that are tokenised at once while their tokens are counted.
_COUNTED_CHARACTERS = 65_536
# A cut through a text may make some tokens more of it.
_TOKENS_PER_CUT = 16
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

    A long text is counted in parts, and as a whole only if the parts come close to the limit.

    Args:
        texts: all texts of the request.
        count: returns the tokens of some texts.
        most: the setting `request.max_tokens`.

    Raises:
        InputError: there are more.
    """
    n_tokens = n_cuts = 0
    for parts, n_more_cuts, is_last in _parts(texts):
        n_tokens += count(parts)
        n_cuts += n_more_cuts
        if n_tokens - _TOKENS_PER_CUT * n_cuts > most:
            at_least = n_tokens - _TOKENS_PER_CUT * n_cuts
            raise _too_many(texts, at_least, most, is_exact=is_last and not n_cuts)
    if n_cuts and n_tokens > most:
        n_tokens = count(texts)
        if n_tokens > most:
            raise _too_many(texts, n_tokens, most, is_exact=True)


def _too_many(texts: Sequence[str], n_tokens: int, most: int, *, is_exact: bool) -> InputError:
    least = "" if is_exact else "at least "
    return InputError(
        f"the request has {least}{n_tokens} tokens ({size_bytes(texts)} bytes in "
        f"{len(texts)} texts), at most {most} are read; send less, or raise "
        "request.max_tokens"
    )


def _parts(texts: Sequence[str]) -> Iterator[tuple[list[str], int, bool]]:
    """Yield parts of texts to count together, how many cuts made them, and if they are the last."""
    size = _COUNTED_CHARACTERS
    gathered: list[str] = []
    n_characters = n_cuts = 0
    for n, text in enumerate(texts, start=1):
        for start in range(0, max(1, len(text)), size):
            part = text[start : start + size]
            gathered.append(part)
            n_characters += len(part)
            n_cuts += bool(start)
            is_last = n == len(texts) and start + size >= len(text)
            if n_characters >= size or is_last:
                yield gathered, n_cuts, is_last
                gathered, n_characters, n_cuts = [], 0, 0


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
