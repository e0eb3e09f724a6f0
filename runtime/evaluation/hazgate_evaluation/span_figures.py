"""Precision, recall and F1 of spans: of those that are equal, and of those that overlap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.judging.verdict import LabelledSpan
from hazgate_evaluation.estimates import Estimate, Resampling, estimate, ratio
from hazgate_evaluation.span_rows import MarkedSpan, SpanRow

# Counts of one type in one row, in this order.
_MARKED, _FOUND, _EQUAL, _FOUND_OVERLAPS, _MARKED_OVERLAPS = range(5)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanScores:
    """Shares of spans that count as right, and their harmonic mean; None where undefined.

    `precision` is the share of the spans that were found, `recall` of those that were marked.
    """

    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeFigures:
    """The figures of one type of spans, or of all types together.

    `exact` counts a span that is equal to a marked one, in label and both ends. `overlapping`
    counts a span that has a character in common with one of its label on the other side.
    """

    n_marked: int
    n_found: int
    exact: SpanScores
    overlapping: SpanScores


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanFigures:
    """The figures of a level on rows: all spans together, and each type by its name.

    `macro_exact` and `macro_overlapping` are means of F1 over the types that are marked or found.
    """

    all_types: TypeFigures
    by_type: Mapping[str, TypeFigures]
    macro_exact: Estimate | None
    macro_overlapping: Estimate | None


def span_figures(
    rows: Sequence[SpanRow], found: Sequence[Sequence[LabelledSpan]], types: Sequence[str]
) -> SpanFigures:
    """Compare spans that a level found with those that a person marked.

    Args:
        rows: texts with marked spans; not empty.
        found: the spans that were found in each of them.
        types: the types of spans that the level can find.
    """
    counts = np.array(
        [
            [_counts(name, row.spans, spans) for name in types]
            for row, spans in zip(rows, found, strict=True)
        ],
        dtype=np.float64,
    )
    names = sorted({row.group for row in rows})
    numbers = {name: i for i, name in enumerate(names)}
    resampling = Resampling(group=np.array([numbers[row.group] for row in rows], dtype=np.int64))
    totals = counts.sum(axis=0)
    resampled = resampling.totals(counts.reshape(len(rows), -1)).reshape(-1, *totals.shape)
    macro = [
        estimate(float(_mean(_f1(totals, how))), _mean(_f1(resampled, how)))
        for how in (_EXACT, _OVERLAPPING)
    ]
    return SpanFigures(
        all_types=_figures(totals.sum(axis=0), resampled.sum(axis=1)),
        by_type={name: _figures(totals[i], resampled[:, i]) for i, name in enumerate(types)},
        macro_exact=macro[0],
        macro_overlapping=macro[1],
    )


# Columns of right spans: among those that were found, and among those that were marked.
_EXACT, _OVERLAPPING = (_EQUAL, _EQUAL), (_FOUND_OVERLAPS, _MARKED_OVERLAPS)


def _counts(
    name: str, marked: Sequence[MarkedSpan], found: Sequence[LabelledSpan]
) -> tuple[int, int, int, int, int]:
    wanted = {(span.start, span.end) for span in marked if span.label == name}
    got = {(span.start, span.end) for span in found if span.label == name}
    return (
        len(wanted),
        len(got),
        len(wanted & got),
        sum(any(_overlap(one, other) for other in wanted) for one in got),
        sum(any(_overlap(one, other) for other in got) for one in wanted),
    )


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _figures(total: NDArray[np.float64], samples: NDArray[np.float64]) -> TypeFigures:
    """Return the figures of counts [5] and of their resamples [n, 5]."""
    scores = []
    for found, marked in (_EXACT, _OVERLAPPING):
        f1 = estimate(float(_f1(total, (found, marked))), _f1(samples, (found, marked)))
        scores.append(
            SpanScores(
                precision=_share(total, samples, found, _FOUND),
                recall=_share(total, samples, marked, _MARKED),
                f1=f1,
            )
        )
    return TypeFigures(
        n_marked=int(total[_MARKED]),
        n_found=int(total[_FOUND]),
        exact=scores[0],
        overlapping=scores[1],
    )


def _share(
    total: NDArray[np.float64], samples: NDArray[np.float64], part: int, whole: int
) -> Estimate | None:
    """Estimate the ratio of two counts [5], with the interval of their resamples [n, 5]."""
    return estimate(
        float(ratio(total[part], total[whole])), ratio(samples[:, part], samples[:, whole])
    )


def _f1(counts: NDArray[np.float64], how: tuple[int, int]) -> NDArray[np.float64]:
    """Return F1 of counts [..., 5]; NaN without any span, 0 if none is right."""
    n_found, n_marked = counts[..., _FOUND], counts[..., _MARKED]
    # Where one of the two has no span, nothing is right.
    precision = np.nan_to_num(ratio(counts[..., how[0]], n_found))
    recall = np.nan_to_num(ratio(counts[..., how[1]], n_marked))
    f1 = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
    return np.asarray(np.where(n_found + n_marked == 0, np.nan, f1))


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the defined values along the last axis; NaN without any."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
