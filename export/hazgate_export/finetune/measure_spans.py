"""Figures of a token level, from the spans that its runtime finds, without a model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hazgate.judging.verdict import LabelledSpan
from hazgate_export.finetune.evaluate import (
    ClassFigures,
    Figures,
    MeasuredShare,
    SourceFigures,
    measured_share,
)
from hazgate_export.finetune.rows import NO_LABEL, TrainingRow, TrainingSpan

# The class of all rows with a span, in figures by source.
WITH_SPANS = "spans"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLevelFigures(Figures):
    """Figures of a level that finds spans; `n_rows` of a class counts its marked spans.

    `classes` count a span as right that is equal to a marked one, in type and both ends.
    `macro_f1` is their mean over types that are marked, `accuracy` the share of rows with exactly
    the right spans, also by source, of rows with spans and of those without.

    Attributes:
        overlapping: the same where a span is right that has a character in common with one of its
            type on the other side.
        all_equal: all types together, as of `classes`.
        all_overlapping: all types together, as of `overlapping`.
        none_flagged: share of the rows without a span in which one is found; None without any.
    """

    overlapping: Mapping[str, ClassFigures]
    all_equal: ClassFigures
    all_overlapping: ClassFigures
    none_flagged: MeasuredShare | None


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of spans: marked, found, and right ones among each."""

    marked: int = 0
    found: int = 0
    marked_right: int = 0
    found_right: int = 0

    def plus(self, other: "_Counts") -> "_Counts":
        return _Counts(
            self.marked + other.marked,
            self.found + other.found,
            self.marked_right + other.marked_right,
            self.found_right + other.found_right,
        )

    @property
    def figures(self) -> ClassFigures:
        precision = self.found_right / self.found if self.found else 0.0
        recall = self.marked_right / self.marked if self.marked else 0.0
        total = precision + recall
        return ClassFigures(
            precision=precision,
            recall=recall,
            f1=2 * precision * recall / total if total else 0.0,
            n_rows=self.marked,
        )


def measure_spans(
    rows: Sequence[TrainingRow], found: Sequence[Sequence[LabelledSpan]], types: Sequence[str]
) -> TokenLevelFigures:
    """Return the figures of at least one row.

    Args:
        rows: the rows with their marked spans.
        found: the spans that were found in each.
        types: the types of spans that can be found.
    """
    equal, overlapping = (
        {name: _Counts() for name in types},
        {name: _Counts() for name in types},
    )
    right: list[bool] = []
    by_source: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for row, spans in zip(rows, found, strict=True):
        for name in types:
            marked, got = _places(row.spans, name), _places(spans, name)
            equal[name] = equal[name].plus(_equal(marked, got))
            overlapping[name] = overlapping[name].plus(_overlapping(marked, got))
        right.append(_all_places(row.spans) == _all_places(spans))
        by_source[row.source, WITH_SPANS if row.spans else NO_LABEL].append(right[-1])
    classes = {name: counts.figures for name, counts in equal.items()}
    marked_classes = [each.f1 for each in classes.values() if each.n_rows]
    empty = [bool(spans) for row, spans in zip(rows, found, strict=True) if not row.spans]
    return TokenLevelFigures(
        n_rows=len(rows),
        accuracy=float(np.mean(right)),
        macro_f1=float(np.mean(marked_classes)) if marked_classes else 0.0,
        classes=classes,
        sources=tuple(
            SourceFigures(
                source=source, label=label, n_rows=len(hits), accuracy=sum(hits) / len(hits)
            )
            for (source, label), hits in sorted(by_source.items())
        ),
        languages=(),
        thresholds=(),
        proposed=None,
        overlapping={name: counts.figures for name, counts in overlapping.items()},
        all_equal=_total(equal).figures,
        all_overlapping=_total(overlapping).figures,
        none_flagged=measured_share(np.asarray(empty, dtype=np.bool_)),
    )


def _places(spans: Sequence[TrainingSpan | LabelledSpan], label: str) -> set[tuple[int, int]]:
    return {(span.start, span.end) for span in spans if span.label == label}


def _all_places(spans: Sequence[TrainingSpan | LabelledSpan]) -> set[tuple[str, int, int]]:
    return {(span.label, span.start, span.end) for span in spans}


def _equal(marked: set[tuple[int, int]], found: set[tuple[int, int]]) -> _Counts:
    n_right = len(marked & found)
    return _Counts(len(marked), len(found), n_right, n_right)


def _overlapping(marked: set[tuple[int, int]], found: set[tuple[int, int]]) -> _Counts:
    return _Counts(len(marked), len(found), _n_touching(marked, found), _n_touching(found, marked))


def _n_touching(spans: set[tuple[int, int]], others: set[tuple[int, int]]) -> int:
    """Count the spans that have a character in common with one of the others."""
    return sum(
        any(start < other_end and other_start < end for other_start, other_end in others)
        for start, end in spans
    )


def _total(counts: Mapping[str, _Counts]) -> _Counts:
    total = _Counts()
    for one in counts.values():
        total = total.plus(one)
    return total
