"""Cuts of a text's tokens into windows, and the window that each token is read in. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def cut(n_total: int, n_tokens: int, overlap: int) -> tuple[range, ...]:
    """Return the tokens of each window of `n_tokens`.

    Each window repeats the last `overlap` tokens of the one before; the last has the rest.

    Args:
        n_total: tokens of the text.
        n_tokens: tokens of a window, more than `overlap`.
        overlap: tokens that two windows share.
    """
    if n_total <= n_tokens:
        return (range(n_total),)
    starts = range(0, n_total - overlap, n_tokens - overlap)
    return tuple(range(start, min(start + n_tokens, n_total)) for start in starts)


def join(windows: Sequence[range], rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return each token's row from the window in which it stands farthest from a cut.

    A cut is an end of a window where the text goes on; the text's own ends are none. Of two windows
    in which a token stands as far from a cut, the earlier one counts.

    Args:
        windows: the tokens of each window, as `cut` gives them.
        rows: for each window, shape [its tokens, width].

    Returns:
        Shape [tokens of the text, width].
    """
    n_total = max(window.stop for window in windows)
    joined = np.empty((n_total, rows[0].shape[1]), dtype=rows[0].dtype)
    farthest = np.full(n_total, -1, dtype=np.int64)
    for window, own in zip(windows, rows, strict=True):
        places = np.arange(window.start, window.stop)
        before = places - window.start if window.start else np.full_like(places, n_total)
        after = window.stop - 1 - places if window.stop < n_total else np.full_like(places, n_total)
        distance = np.minimum(before, after)
        better = distance > farthest[places]
        joined[places[better]] = own[better]
        farthest[places[better]] = distance[better]
    return joined
