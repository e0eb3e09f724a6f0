"""Two halves of the rows that share no group."""

import numpy as np
from numpy.typing import NDArray


def fit_half(group: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Choose the rows of the half to fit on, shape [n].

    Half of the groups are drawn; the draw depends only on `seed` and the number of groups.

    Args:
        group: number of each row's group from 0, shape [n].
        seed: of the draw.
    """
    n_groups = int(group.max()) + 1
    drawn = np.random.default_rng(seed).permutation(n_groups)[: n_groups // 2]
    return np.isin(group, drawn)
