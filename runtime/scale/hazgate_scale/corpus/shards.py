"""Cutting of files into shards: pure, and the same for the same files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SHARE = 256
# Some seconds of work for one thread on short texts.
_MIN_SHARD_BYTES = 256 << 10
_MAX_SHARD_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Divisible:
    """A file to cut.

    `units` lists, in order, the sizes in bytes of the pieces that it can be cut between (the row
    groups of a Parquet file). None can be cut anywhere. A file that cannot be cut is one unit.
    """

    size_bytes: int
    units: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A piece of a file that is scored and committed at once: units or bytes [start, end).

    `file` is the index of the input, `index` that of the shard.
    """

    index: int
    file: int
    start: int
    end: int


def default_shard_bytes(total_bytes: int) -> int:
    """Choose a share of the input: small inputs get early output, large ones few files."""
    return min(max(total_bytes // _SHARE, _MIN_SHARD_BYTES), _MAX_SHARD_BYTES)


def cut_shards(files: Sequence[Divisible], shard_bytes: int) -> tuple[Shard, ...]:
    """Cut files into shards of about `shard_bytes`, covering each unit once, in order."""
    ranges = [(i, *cut) for i, file in enumerate(files) for cut in _cuts(file, shard_bytes)]
    return tuple(
        Shard(index=index, file=file, start=start, end=end)
        for index, (file, start, end) in enumerate(ranges)
    )


def _cuts(file: Divisible, shard_bytes: int) -> Iterator[tuple[int, int]]:
    if file.units is None:
        n = -(-file.size_bytes // shard_bytes)
        bounds = [i * file.size_bytes // n for i in range(n + 1)] if n else []
        yield from pairwise(bounds)
        return
    start = size = 0
    for unit, unit_bytes in enumerate(file.units):
        if size and size + unit_bytes > shard_bytes:
            yield start, unit
            start, size = unit, 0
        size += unit_bytes
    if file.units:
        yield start, len(file.units)
