"""Shapes for providers that compile one program per shape: few, fixed, chosen for the traffic.

Pure functions of lengths; `hazgate.engine.engine` opens a session per shape.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hazgate.errors import InputError

# GPUs multiply in tiles of this many rows: a length between two multiples costs as the next one.
TILE_TOKENS = 8
_DEFAULT_TOKENS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
# One row answers a single text fastest, a batch serves load; each costs a compilation per length.
_DEFAULT_BATCHES = (1, 8)


@dataclass(frozen=True, order=True, slots=True)
class Bucket:
    """A fixed shape: rows of a batch, and tokens of each row, padding included."""

    batch: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.batch}x{self.tokens}"


def default_buckets(window_tokens: int) -> tuple[Bucket, ...]:
    """Return powers of two up to the reading window, for one row and for a batch."""
    tokens = [n for n in _DEFAULT_TOKENS if n < window_tokens]
    return tuple(Bucket(batch, n) for batch in _DEFAULT_BATCHES for n in (*tokens, window_tokens))


def parse_bucket(text: str) -> Bucket:
    """Return the bucket that a text like "8x512" means.

    Raises:
        InputError: the text means none.
    """
    batch, _, tokens = text.partition("x")
    if not (batch.isdecimal() and tokens.isdecimal() and int(batch) and int(tokens)):
        raise InputError(f"expected a bucket as 8x512, rows and tokens, got {text[:20]!r}")
    return Bucket(int(batch), int(tokens))


def choose_bucket(buckets: Iterable[Bucket], n_rows: int, n_tokens: int) -> Bucket | None:
    """Return the bucket that runs rows of `n_tokens` with the least work.

    Among the shortest buckets that are long enough, this is the smallest that holds all rows; if
    none does, the largest, and the rows take several runs. None if every bucket is too short.
    """
    wide = [bucket for bucket in buckets if bucket.tokens >= n_tokens]
    if not wide:
        return None
    narrowest = min(bucket.tokens for bucket in wide)
    batches = sorted(bucket for bucket in wide if bucket.tokens == narrowest)
    return next((bucket for bucket in batches if bucket.batch >= n_rows), batches[-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketPlan:
    """Lengths of buckets for a traffic, and the share of positions that would be padding."""

    tokens: tuple[int, ...]
    padding_share: float


def plan_buckets(lengths: Sequence[int], n_buckets: int, max_tokens: int) -> BucketPlan:
    """Return the `n_buckets` lengths that pad a traffic least; the last one is `max_tokens`.

    Exact, by dynamic programming over the lengths that occur, each rounded up to whole tiles. The
    best k lengths up to l are the best k - 1 up to some shorter l', and l: all texts longer than
    l' pad to l. Texts over `max_tokens` are windowed and count as `max_tokens`.

    Args:
        lengths: tokens of each text, special tokens included; not empty.
        n_buckets: number of lengths; each costs a compilation per batch size.
        max_tokens: the longest row that the gate reads.

    Raises:
        InputError: there is no length, one is not positive, or there is no bucket.
    """
    if not lengths or min(lengths) < 1 or n_buckets < 1 or max_tokens < 1:
        raise InputError(
            "expected at least one length, all of them positive, and at least one bucket"
        )
    clipped = [min(length, max_tokens) for length in lengths]
    counts = Counter(min(-(-n // TILE_TOKENS) * TILE_TOKENS, max_tokens) for n in clipped)
    counts.setdefault(max_tokens, 0)
    ends = np.array(sorted(counts))
    # Number of texts up to each end; 0 before the first.
    n_texts = np.concatenate([[0], np.cumsum([counts[end] for end in ends.tolist()])])
    # cost[j]: the positions of all texts up to end j with the buckets so far, the last at j.
    cost = ends * n_texts[1:]
    previous: list[np.ndarray[tuple[int], np.dtype[np.intp]]] = []
    for _ in range(min(n_buckets, len(ends)) - 1):
        # Best buckets up to i, then everything from i to j in one bucket.
        through = cost[:, None] + ends[None, :] * (n_texts[None, 1:] - n_texts[1:, None])
        # A bucket may be left out: n_buckets is an upper bound.
        through[np.tril_indices(len(ends), -1)] = np.iinfo(through.dtype).max
        np.fill_diagonal(through, cost)
        previous.append(through.argmin(axis=0))
        cost = through.min(axis=0)
    chosen = [len(ends) - 1]
    for origin in reversed(previous):
        chosen.append(int(origin[chosen[-1]]))
    tokens = tuple(sorted({int(ends[i]) for i in chosen}))
    n_positions = int(cost[-1])
    return BucketPlan(tokens=tokens, padding_share=1 - sum(clipped) / n_positions)
