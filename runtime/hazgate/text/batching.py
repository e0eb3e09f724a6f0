"""Which texts share a run of the model, and the arrays that such a run takes.

Pure functions of lengths and ids; nothing here waits, locks or runs a model.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import Batching

# At most so much of a padded run is padding: on a CPU a position costs what a token costs.
MAX_PADDING_SHARE = 0.25


def plan_batches(
    lengths: Sequence[int], max_batch_tokens: int, batching: Batching
) -> list[list[int]]:
    """Groups the indices of `lengths` so that each group pads to at most `max_batch_tokens`.

    Args:
        lengths: tokens of each text, special tokens included.
        max_batch_tokens: upper bound of what a batch computes, see `n_positions`. A text longer
            than that forms a batch of its own: it is the caller's limit on tokens, not this one,
            that refuses it.
        batching: which texts may share a run, see hazgate.bundle.manifest.VariantSpec.

    Returns:
        Batches of indices, each index once, in ascending order of length. At most
        MAX_PADDING_SHARE of the positions of a padded batch are padding.
    """
    batches: list[list[int]] = []
    n_tokens = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[index]
        # Ascending order makes this text the longest of the batch that it would join.
        size = len(batches[-1]) + 1 if batches else 0
        computed = n_positions(size, n_tokens + length, length, batching)
        if (
            batches
            and computed <= max_batch_tokens
            and computed - (n_tokens + length) <= _padding_allowed(batching, computed)
        ):
            batches[-1].append(index)
            n_tokens += length
        else:
            batches.append([index])
            n_tokens = length
    return batches


def n_positions(n_rows: int, n_tokens: int, longest: int, batching: Batching) -> int:
    """How many positions a batch computes: its tokens where it is packed, else a rectangle."""
    return n_tokens if batching == "packed" else n_rows * longest


def padding_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Which share of the positions that padded `batches` compute is padding."""
    computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    n_tokens = sum(lengths[i] for batch in batches for i in batch)
    return 1 - n_tokens / computed if computed else 0.0


def _padding_allowed(batching: Batching, computed: int) -> float:
    """How many positions of so many may be padding; less than none, if texts run alone."""
    shares = {"padded": MAX_PADDING_SHARE, "equal_length": 0.0, "alone": -1.0, "packed": 0.0}
    return shares[batching] * computed


def pad(
    rows: Sequence[Sequence[int]], pad_token_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`input_ids` and `attention_mask` of rows padded on the right to the longest of them.

    Args:
        rows: token ids of each text; not empty, no empty row.
        pad_token_id: the id that fills the rest of a row.

    Returns:
        Two arrays of shape [len(rows), longest row]; the mask is 1 on tokens, 0 on padding.
    """
    width = max(len(row) for row in rows)
    input_ids = np.full((len(rows), width), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        input_ids[i, : len(row)] = row
        attention_mask[i, : len(row)] = 1
    return input_ids, attention_mask
