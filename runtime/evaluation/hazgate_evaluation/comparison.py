"""Two systems on the same texts: which decisions differ, and whether one is better."""

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
    """McNemar's exact test (McNemar 1947) on the rows that only one system got right.

    `p_value` is two-sided: how often chance alone would divide them as unequally.
    """

    n_rows: int
    n_only_first_right: int
    n_only_second_right: int
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedDecision:
    """A row of which two systems say different things.

    `row` is its line in the data file; `label` what it should be, None where it is not known.
    The hazards are what the verdicts would name: None where the gate stayed shut.
    """

    row: int
    label: str | None
    unsafe_first: float
    unsafe_second: float
    hazard_first: str | None
    hazard_second: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemComparison:
    """The first system against another; positions in the report's list of systems."""

    first: int
    second: int
    level1: PairedTest = field(metadata=spelt("gate"))
    cascade: PairedTest
    n_flags_changed: int
    n_hazards_changed: int
    changed: tuple[ChangedDecision, ...]


def paired_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    """The test of two systems by what each got right, shape [n]."""
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
    """One system's scores with the threshold that it flags at."""

    scores: Scores
    threshold: float

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Its decisions, shape [n]."""
        return self.scores.unsafe >= self.threshold

    def hazard_or_none(self, labels: Sequence[str]) -> list[str | None]:
        """The hazard that each verdict names."""
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
    """Compares two systems on the same rows.

    Args:
        systems: all of the report.
        first: the position of one of them, the baseline.
        second: the position of the other.
        truth: the labels of the rows.
        numbers: line of each row in its file, shape [n].
        names: what each row should be, for people.
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
