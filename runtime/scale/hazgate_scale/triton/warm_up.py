"""Warm-up samples of Triton's models: one row, and a full batch of the longest rows."""

import struct

import numpy as np

from hazgate_scale.triton.layout import LevelModel

MASK_FILE = "ones"
TEXT_FILE = "text"
_TEXT = "How do I get a red wine stain out of a carpet?"
# Triton's strings in memory: each after its length.
_LENGTH = struct.Struct("<I")


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """List the batch sizes to warm up: the smallest and the largest."""
    return tuple(sorted({1, max_batch_size}))


def mask_of_row(model: LevelModel) -> bytes:
    """Make the attention mask of a full row; zeros would be a row without tokens."""
    return np.ones(model.longest, dtype="<i8").tobytes()


def text() -> bytes:
    """Encode one harmless text."""
    encoded = _TEXT.encode()
    return _LENGTH.pack(len(encoded)) + encoded
