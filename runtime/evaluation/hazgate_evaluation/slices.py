"""Figures on parts of the rows: by language, source and length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hazgate_evaluation.cascade import cascade_right, share_right
from hazgate_evaluation.estimates import Estimate, Resampling
from hazgate_evaluation.level1 import flag_figures
from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.scores import Scores
from hazgate_evaluation.truth import Truth

# Fewer rows give no useful interval.
MIN_ROWS = 30
NOT_GIVEN = "not given"
_LONGEST_TOKENS = (16, 64, 256, 1024)

Dimension = Literal["language", "source", "tokens"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Figures of one part of the rows.

    A figure is None if it rests on fewer than MIN_ROWS rows: `recall` on the unsafe rows,
    `false_positive_rate` on the others, `hazard_accuracy` on rows whose hazard is known,
    `cascade_accuracy` on rows that count for Level 1.
    """

    dimension: Dimension
    name: str
    n_rows: int
    n_unsafe: int
    n_safe: int
    n_hazard: int
    recall: Estimate | None
    false_positive_rate: Estimate | None
    hazard_accuracy: Estimate | None
    cascade_accuracy: Estimate | None

    @property
    def too_small(self) -> bool:
        """True if the slice has too few rows for any figure."""
        figures = (
            self.recall,
            self.false_positive_rate,
            self.hazard_accuracy,
            self.cascade_accuracy,
        )
        return all(figure is None for figure in figures)


def slices_of(
    rows: Sequence[LabelledRow], truth: Truth, scores: Scores, threshold: float
) -> tuple[Slice, ...]:
    """Compute every slice of every dimension; the largest languages and sources come first."""
    lengths = [_bucket(n) for n in scores.n_tokens.tolist()]
    columns: dict[Dimension, list[str]] = {
        "language": [row.lang or NOT_GIVEN for row in rows],
        "source": [row.source or NOT_GIVEN for row in rows],
        "tokens": [bucket_name(bucket) for bucket in lengths],
    }
    slices = []
    for dimension, column in columns.items():
        names, index, counts = np.unique(column, return_inverse=True, return_counts=True)
        order = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))
        if dimension == "tokens":
            order = [int(np.flatnonzero(names == name)[0]) for name in _names_in(lengths)]
        for i in order:
            inside = index == i
            slices.append(
                _slice(dimension, str(names[i]), truth.take(inside), scores.take(inside), threshold)
            )
    return tuple(slices)


def bucket_name(bucket: int) -> str:
    """Name a bucket of token counts."""
    if bucket == len(_LONGEST_TOKENS):
        return f"{_LONGEST_TOKENS[-1] + 1} and more"
    first = _LONGEST_TOKENS[bucket - 1] + 1 if bucket else 0
    return f"{first} to {_LONGEST_TOKENS[bucket]}"


def _bucket(n_tokens: int) -> int:
    return sum(n_tokens > longest for longest in _LONGEST_TOKENS)


def _names_in(lengths: Sequence[int]) -> list[str]:
    return [bucket_name(bucket) for bucket in sorted(set(lengths))]


def _slice(
    dimension: Dimension, name: str, truth: Truth, scores: Scores, threshold: float
) -> Slice:
    flagged = scores.unsafe >= threshold
    known, unsafe = truth.known, truth.known & truth.unsafe
    flags = None
    n_unsafe, n_safe = int(unsafe.sum()), int((known & ~truth.unsafe).sum())
    if max(n_unsafe, n_safe) >= MIN_ROWS:
        flags = flag_figures(truth.unsafe[known], flagged[known], _resampling(truth, known))
    right = cascade_right(truth, scores, threshold)
    return Slice(
        dimension=dimension,
        name=name,
        n_rows=len(known),
        n_unsafe=n_unsafe,
        n_safe=n_safe,
        n_hazard=int(truth.has_hazard.sum()),
        recall=flags.recall if flags and n_unsafe >= MIN_ROWS else None,
        false_positive_rate=flags.false_positive_rate if flags and n_safe >= MIN_ROWS else None,
        hazard_accuracy=_share(scores.hazard == truth.hazard, truth, truth.has_hazard),
        cascade_accuracy=_share(right, truth, known),
    )


def _share(right: NDArray[np.bool_], truth: Truth, counts: NDArray[np.bool_]) -> Estimate | None:
    if counts.sum() < MIN_ROWS:
        return None
    return share_right(right[counts], _resampling(truth, counts))


def _resampling(truth: Truth, counts: NDArray[np.bool_]) -> Resampling:
    return Resampling(group=truth.take(counts).group)
