"""Comparison of two systems on the same texts: changed decisions, and which is better."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from hazgate.documents.decode import spelt
from hazgate_evaluation.cascade import cascade_right
from hazgate_evaluation.scores import Scores
from hazgate_evaluation.truth import Truth


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """McNemar's exact test (McNemar 1947) on rows that only one system got right.

    `p_value` is two-sided: how often chance alone would split them as unevenly.
    """

    n_rows: int
    n_only_first_right: int
    n_only_second_right: int
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedDecision:
    """A row on which two systems disagree.

    `row` is its line in the data file; `label` is the expected label, None if unknown. The
    hazards are those that the verdicts would name, None where the text was not flagged.
    """

    row: int
    label: str | None
    unsafe_first: float
    unsafe_second: float
    hazard_first: str | None
    hazard_second: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemComparison:
    """The baseline against another system, by their positions in the report's list."""

    first: int
    second: int
    level1: PairedTest = field(metadata=spelt("gate"))
    cascade: PairedTest
    n_flags_changed: int
    n_hazards_changed: int
    changed: tuple[ChangedDecision, ...]


def paired_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    """Test two systems by which rows each got right, shape [n]."""
    n_first, n_second = int((first & ~second).sum()), int((~first & second).sum())
    n_discordant = n_first + n_second
    p_value = binomtest(n_first, n_discordant, 0.5).pvalue if n_discordant else 1.0
    return PairedTest(
        n_rows=len(first),
        n_only_first_right=n_first,
        n_only_second_right=n_second,
        p_value=float(p_value),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One system's scores and the threshold at which it flags."""

    scores: Scores
    threshold: float

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """The decisions, shape [n]."""
        return self.scores.unsafe >= self.threshold

    def hazard_or_none(self, labels: Sequence[str]) -> list[str | None]:
        """Name the hazard of each verdict, None where the text was not flagged."""
        if not labels:
            return [None] * len(self.flagged)
        flagged, hazard = self.flagged.tolist(), self.scores.hazard.tolist()
        return [labels[h] if f else None for f, h in zip(flagged, hazard, strict=True)]


def compare(
    systems: Sequence[Judged],
    first: int,
    second: int,
    truth: Truth,
    *,
    numbers: NDArray[np.int64],
    names: Sequence[str | None],
    labels: Sequence[str],
) -> SystemComparison:
    """Compare two systems on the same rows.

    Args:
        systems: all systems of the report.
        first: position of the baseline.
        second: position of the other system.
        truth: labels of the rows.
        numbers: line of each row in its file, shape [n].
        names: the expected label of each row, for people.
        labels: the hazards.
    """
    one, other = systems[first], systems[second]
    counts = truth.known
    hazards = one.hazard_or_none(labels), other.hazard_or_none(labels)
    flags_changed = one.flagged != other.flagged
    changed = np.flatnonzero(
        flags_changed | np.array([a != b for a, b in zip(*hazards, strict=True)], dtype=np.bool_)
    )
    return SystemComparison(
        first=first,
        second=second,
        level1=paired_test(
            (one.flagged == truth.unsafe)[counts], (other.flagged == truth.unsafe)[counts]
        ),
        cascade=paired_test(
            cascade_right(truth, one.scores, one.threshold)[counts],
            cascade_right(truth, other.scores, other.threshold)[counts],
        ),
        n_flags_changed=int(flags_changed.sum()),
        n_hazards_changed=len(changed) - int(flags_changed.sum()),
        changed=tuple(
            ChangedDecision(
                row=int(numbers[i]),
                label=names[i],
                unsafe_first=float(one.scores.unsafe[i]),
                unsafe_second=float(other.scores.unsafe[i]),
                hazard_first=hazards[0][i],
                hazard_second=hazards[1][i],
            )
            for i in changed.tolist()
        ),
    )
