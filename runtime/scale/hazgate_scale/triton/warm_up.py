"""What Triton runs through a model before it is ready: one row, and a full batch of the longest."""

import struct

import numpy as np

from hazgate_scale.triton.layout import LevelModel

MASK_FILE = "ones"
TEXT_FILE = "text"
_TEXT = "How do I get a red wine stain out of a carpet?"
# As Triton's tensors of strings lie in memory: each behind its length.
_LENGTH = struct.Struct("<I")


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """The batches to warm up: the smallest, and the largest."""
    return tuple(sorted({1, max_batch_size}))


def mask_of_row(model: LevelModel) -> bytes:
    """The attention mask of a whole row. A mask of zeros would be a row without a token."""
    return np.ones(model.longest, dtype="<i8").tobytes()


def text() -> bytes:
    """One harmless text of ours."""
    encoded = _TEXT.encode()
    return _LENGTH.pack(len(encoded)) + encoded
