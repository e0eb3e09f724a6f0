"""Batches: the texts that share a run of the model, and the arrays of such a run.

Pure functions of lengths and ids.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import Batching

# Limit on the padding in a run: on a CPU a padded position costs as much as a token.
MAX_PADDING_SHARE = 0.25


def plan_batches(
    lengths: Sequence[int], max_batch_tokens: int, batching: Batching
) -> list[list[int]]:
    """Group the indices of `lengths` so that each group pads to at most `max_batch_tokens`.

    Args:
        lengths: tokens of each text, special tokens included.
        max_batch_tokens: limit on what a batch computes, see `n_positions`. A longer text gets a
            batch of its own; refusing long texts is the caller's task.
        batching: the rule for sharing a run, see hazgate.bundle.manifest.VariantSpec.

    Returns:
        Batches of indices, each index once, in ascending order of length. At most
        MAX_PADDING_SHARE of the positions of a padded batch are padding.
    """
    batches: list[list[int]] = []
    n_tokens = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[index]
        # In ascending order, this text is the longest of the batch that it would join.
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
    """Return how many positions a batch computes: its tokens if packed, else a rectangle."""
    return n_tokens if batching == "packed" else n_rows * longest


def padding_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Return the share of padding among the positions that padded `batches` compute."""
    computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    n_tokens = sum(lengths[i] for batch in batches for i in batch)
    return 1 - n_tokens / computed if computed else 0.0


def _padding_allowed(batching: Batching, computed: int) -> float:
    """Return how many of `computed` positions may be padding; negative if texts run alone."""
    shares = {"padded": MAX_PADDING_SHARE, "equal_length": 0.0, "alone": -1.0, "packed": 0.0}
    return shares[batching] * computed


def pad(
    rows: Sequence[Sequence[int]], pad_token_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `input_ids` and `attention_mask` of rows, padded on the right to the longest one.

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
