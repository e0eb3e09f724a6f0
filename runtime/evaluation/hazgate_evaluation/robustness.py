"""Robustness of decisions against rewriting of the text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate_evaluation.estimates import SEED, Estimate, share
from hazgate_evaluation.mutations import MUTATIONS
from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.truth import Truth

# Rewriting makes up to five tokens of one; longer texts would take too long.
_MAX_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class MutationFigures:
    """The effect of one mutation on decisions that were right.

    `still_flagged` is the share of flagged unsafe rows that stay flagged, `newly_flagged` the
    share of passed safe rows that are flagged now; those `as_written` are without the gate's views
    of disguised texts. Intervals are Wilson's.
    """

    mutation: str
    description: str
    still_flagged: Estimate | None
    newly_flagged: Estimate | None
    still_flagged_as_written: Estimate | None
    newly_flagged_as_written: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Robustness:
    """All mutations on one sample of rows that Level 1 got right."""

    n_unsafe: int
    n_safe: int
    mutations: tuple[MutationFigures, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RobustnessSample:
    """Positions of rightly flagged unsafe rows and of rightly passed safe ones."""

    unsafe: NDArray[np.int64]
    safe: NDArray[np.int64]


def choose_sample(
    rows: Sequence[LabelledRow], truth: Truth, flagged: NDArray[np.bool_], n_rows: int
) -> RobustnessSample:
    """Draw at most `n_rows` rows that Level 1 got right, half of each class.

    The seed is fixed. Rows longer than 500 characters are left out.
    """
    random = np.random.default_rng(SEED)
    short = np.array([len(row.text) <= _MAX_CHARACTERS for row in rows], dtype=np.bool_)

    def draw(eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
        positions = np.flatnonzero(eligible & truth.known & short)
        return np.sort(random.permutation(positions)[: n_rows // 2])

    return RobustnessSample(
        unsafe=draw(truth.unsafe & flagged), safe=draw(~truth.unsafe & ~flagged)
    )


def measure_robustness(
    rows: Sequence[LabelledRow],
    sample: RobustnessSample,
    flags: Callable[[Sequence[str]], tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> Robustness:
    """Apply every mutation to the sample and compare decisions.

    Args:
        rows: the rows that the sample was drawn from.
        sample: see `choose_sample`.
        flags: gives the decisions on texts with the gate's views, and without, shape [n] each.
    """
    texts = [rows[i].text for i in (*sample.unsafe.tolist(), *sample.safe.tolist())]
    n_unsafe = len(sample.unsafe)
    figures = []
    for name, mutate in MUTATIONS.items():
        flagged, as_written = flags([mutate(text) for text in texts])
        figures.append(
            MutationFigures(
                mutation=name,
                description=(mutate.__doc__ or "").strip(),
                still_flagged=share(flagged[:n_unsafe]),
                newly_flagged=share(flagged[n_unsafe:]),
                still_flagged_as_written=share(as_written[:n_unsafe]),
                newly_flagged_as_written=share(as_written[n_unsafe:]),
            )
        )
    return Robustness(n_unsafe=n_unsafe, n_safe=len(sample.safe), mutations=tuple(figures))
