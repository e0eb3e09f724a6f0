"""The workloads: fixed token counts, real texts one by one, real texts in bulk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LENGTHS = (8, 16, 32, 64, 128, 256)
# Of each token count in each round; the 99th percentile of 40 is nearly the slowest.
CALLS_PER_ROUND = 40
SEED = 20262

TEXT = "text"
BULK = "bulk"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedWorkload:
    """One task that every system gets in the same form.

    Kind "ids": each of `rows` is one timed call of Level 1 on given token ids, batch 1.
    Kind "text": each of `texts` is one: tokenization, Level 1, softmax, batch 1.
    Kind "bulk": all of `texts` together are one: tokenization and the whole cascade, batched as
    the system does it.
    """

    name: str
    title: str
    kind: Literal["ids", "text", "bulk"]
    rows: tuple[tuple[int, ...], ...] = ()
    texts: tuple[str, ...] = ()
    tokens: int | None = None

    @property
    def n_texts(self) -> int:
        """Number of texts that one turn answers."""
        return len(self.rows) + len(self.texts)

    @property
    def n_calls(self) -> int:
        """Number of timed calls that make up one turn."""
        return 1 if self.kind == "bulk" else self.n_texts


def make_workloads(
    texts: Sequence[str],
    *,
    vocab_size: int,
    max_tokens: int,
    calls: int = CALLS_PER_ROUND,
    lengths: Sequence[int] = LENGTHS,
) -> tuple[SpeedWorkload, ...]:
    """Return the workloads of a model, the same ones each time.

    Args:
        texts: real texts.
        vocab_size: ids are drawn below this.
        max_tokens: the model's limit; longer lengths are left out.
        calls: timed calls of each length in one round.
        lengths: token counts, special tokens included.
    """
    random = np.random.default_rng(SEED)
    by_length = tuple(
        SpeedWorkload(
            name=f"{length}-tokens",
            title=f"{length} tokens",
            kind="ids",
            rows=tuple(
                tuple(map(int, row)) for row in random.integers(vocab_size, size=(calls, length))
            ),
            tokens=length,
        )
        for length in lengths
        if length <= max_tokens
    )
    one_by_one = [texts[int(i)] for i in random.permutation(len(texts))]
    in_bulk = [texts[int(i)] for i in random.permutation(len(texts))]
    return (
        *by_length,
        SpeedWorkload(name=TEXT, title="real texts", kind="text", texts=tuple(one_by_one)),
        SpeedWorkload(name=BULK, title="real texts in bulk", kind="bulk", texts=tuple(in_bulk)),
    )
