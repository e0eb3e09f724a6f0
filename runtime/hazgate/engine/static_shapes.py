"""One session per shape, for providers that compile one program per shape.

Together they act as one session. Rows are padded to the narrowest bucket that holds them, and a
batch is filled up with copies of its first row; the answers to the padding are cut off again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.buckets import Bucket, choose_bucket
from hazgate.engine.session import Session
from hazgate.errors import InferenceError, InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedBucket:
    """A bucket that is ready, and the time that it took to open and prove it."""

    bucket: Bucket
    seconds: float


class BucketedSession:
    """Sessions of fixed shapes that act as one session of any shape. Thread-safe.

    A session runs one batch at a time; several sessions per bucket allow as many runs at once.
    """

    def __init__(self, sessions: Mapping[Bucket, Sequence[Session]], *, pad_token_id: int) -> None:
        """Take open sessions, at least one per bucket, and the id that fills rows."""
        self.buckets = tuple(sorted(sessions))
        self._pad_token_id = pad_token_id
        self._idle: dict[Bucket, SimpleQueue[Session]] = {}
        for bucket, own in sessions.items():
            self._idle[bucket] = SimpleQueue()
            for session in own:
                self._idle[bucket].put(session)

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Return the logits of a padded batch, see hazgate.engine.session.Session.

        Raises:
            InputError: the rows are longer than every bucket.
            InferenceError: a session failed, or rows are to leave early: no graph of fixed shapes
                has exits.
        """
        if may_leave is not None:
            raise InferenceError("a graph of fixed shapes has no early exits, and rows were to go")
        n_rows, n_tokens = input_ids.shape
        parts = []
        begin = 0
        while begin < n_rows:
            bucket = choose_bucket(self.buckets, n_rows - begin, n_tokens)
            if bucket is None:
                longest = max(each.tokens for each in self.buckets)
                raise InputError(
                    f"a row has {n_tokens} tokens, the longest bucket {longest}; read texts in "
                    "shorter windows, or open the gate with a longer bucket"
                )
            end = min(n_rows, begin + bucket.batch)
            part = slice(begin, end)
            parts.append(self._run_in(bucket, input_ids[part], attention_mask[part]))
            begin = end
        return np.concatenate(parts)

    def _run_in(
        self, bucket: Bucket, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        idle = self._idle[bucket]
        session = idle.get()
        try:
            logits = session.run(
                fill(input_ids, bucket, self._pad_token_id), fill(attention_mask, bucket, 0)
            )
        finally:
            idle.put(session)
        # Of a token level, there are logits of padding behind each row, too.
        n_tokens = input_ids.shape[1]
        return logits[: len(input_ids), :n_tokens] if logits.ndim == 3 else logits[: len(input_ids)]


def open_buckets(
    buckets: Sequence[Bucket],
    open_one: Callable[[Bucket], Session],
    *,
    sessions_per_bucket: int,
    pad_token_id: int,
    on_open: Callable[[OpenedBucket], None] | None = None,
) -> BucketedSession:
    """Open every bucket, one after another, the shortest first: a wrong program fails early.

    Args:
        buckets: the shapes; not empty.
        open_one: opens and proves a session of one shape.
        sessions_per_bucket: number of runs of a bucket that may go on at a time.
        pad_token_id: the id that fills rows.
        on_open: called once per bucket.

    Raises:
        InputError: there is no bucket.
        HazgateError: `open_one` raised it.
    """
    if not buckets:
        raise InputError("no bucket; a provider that compiles needs at least one shape")
    sessions: dict[Bucket, list[Session]] = {}
    for bucket in sorted(set(buckets), key=lambda each: (each.tokens, each.batch)):
        start_s = time.monotonic()
        sessions[bucket] = [open_one(bucket) for _ in range(sessions_per_bucket)]
        if on_open is not None:
            on_open(OpenedBucket(bucket=bucket, seconds=time.monotonic() - start_s))
    return BucketedSession(sessions, pad_token_id=pad_token_id)


def fill(rows: NDArray[np.int64], bucket: Bucket, value: int) -> NDArray[np.int64]:
    """Fill rows up to the bucket's shape: `value` after each, then copies of the first row."""
    n_rows, n_tokens = rows.shape
    filled = np.full((bucket.batch, bucket.tokens), value, dtype=np.int64)
    filled[:n_rows, :n_tokens] = rows
    filled[n_rows:] = filled[0]
    return filled
