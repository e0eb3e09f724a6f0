"""Which texts share a run of the model, and the arrays that such a run takes.

Pure functions of lengths and ids; nothing here waits, locks or runs a model.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hazgate.manifest import Batching


def plan_batches(
    lengths: Sequence[int], max_batch_tokens: int, batching: Batching
) -> list[list[int]]:
    """Groups the indices of `lengths` so that each group pads to at most `max_batch_tokens`.

    Args:
        lengths: tokens of each text, special tokens included.
        max_batch_tokens: upper bound of rows × longest row. A text longer than that forms a
            batch of its own: it is the caller's limit on tokens, not this one, that refuses it.
        batching: which texts may share a run, see hazgate.manifest.VariantSpec.

    Returns:
        Batches of indices, each index once, in ascending order of length so that texts that
        are padded together are of similar length.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Ascending order makes this text the longest of the batch that it would join.
        if (
            batches
            and (len(batches[-1]) + 1) * lengths[index] <= max_batch_tokens
            and _may_join(lengths[index], lengths[batches[-1][0]], batching)
        ):
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _may_join(length: int, shortest: int, batching: Batching) -> bool:
    if batching == "equal_length":
        return length == shortest
    return batching == "padded"


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
