"""Two halves that share no group."""

import numpy as np
from numpy.typing import NDArray


def fit_half(group: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which rows belong to the half that is fitted on, shape [n].

    Whole groups are drawn, half of them; the draw hangs on `seed` and the number of groups alone.

    Args:
        group: number of each row's group from 0, shape [n].
        seed: of the draw.
    """
    n_groups = int(group.max()) + 1
    drawn = np.random.default_rng(seed).permutation(n_groups)[: n_groups // 2]
    return np.isin(group, drawn)
