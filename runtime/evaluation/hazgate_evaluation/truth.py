"""The labels of rows as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InputError
from hazgate_evaluation.rows import LabelledRow, LabelNames

_NO_HAZARD = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """The labels of n rows as arrays of shape [n].

    `known` is True if a row counts for Level 1; then `unsafe` is its label. `hazard` is an index
    into the hazard labels, -1 if unknown. `group` numbers the groups from 0.
    """

    known: NDArray[np.bool_]
    unsafe: NDArray[np.bool_]
    hazard: NDArray[np.int64]
    group: NDArray[np.int64]

    @property
    def has_hazard(self) -> NDArray[np.bool_]:
        """True where the row's hazard is known."""
        return np.asarray(self.hazard != _NO_HAZARD)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Truth":
        """Select the labels of some rows, by mask or position, and renumber their groups."""
        _, group = np.unique(self.group[chosen], return_inverse=True)
        return Truth(
            known=self.known[chosen],
            unsafe=self.unsafe[chosen],
            hazard=self.hazard[chosen],
            group=group.astype(np.int64),
        )


def truth_of(rows: Sequence[LabelledRow], names: LabelNames) -> Truth:
    """Turn the labels of rows into arrays."""
    index = {label: i for i, label in enumerate(names.level2)}
    hazards = [_NO_HAZARD if row.level2 is None else index[row.level2] for row in rows]
    _, group = np.unique([row.group for row in rows], return_inverse=True)
    return Truth(
        known=np.array([row.level1 is not None for row in rows], dtype=np.bool_),
        unsafe=np.array([row.level1 == names.positive for row in rows], dtype=np.bool_),
        hazard=np.array(hazards, dtype=np.int64),
        group=group.astype(np.int64),
    )


def check_both_classes(truth: Truth) -> None:
    """Refuse labels of a single class, which cannot evaluate Level 1.

    Raises:
        InputError: no row counts for Level 1, or all that count are of one class.
    """
    n_known, n_unsafe = int(truth.known.sum()), int((truth.known & truth.unsafe).sum())
    if n_unsafe in (0, n_known):
        raise InputError(
            f"Level 1 needs rows of both classes, got {n_unsafe} unsafe and {n_known - n_unsafe} "
            f"others among {len(truth.known)} rows; add rows of the other class"
        )
