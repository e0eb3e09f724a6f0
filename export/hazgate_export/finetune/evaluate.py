"""Figures of a trained level, from probabilities, without a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from hazgate_export.finetune.rows import NO_LABEL, TrainingRow

_CONFIDENCE = 0.95
_NOT_ENGLISH = "all but en"
# Thresholds that a card shows next to the proposed one.
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassFigures:
    """One class under argmax; `n_rows` counts the rows that carry its label."""

    precision: float
    recall: float
    f1: float
    n_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdFigures:
    """A binary level at one threshold: the shares of unsafe and of safe texts that it flags.

    None where there was no text of that kind.
    """

    threshold: float
    recall: float | None
    false_positive_rate: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFigures:
    """Rows of one source and class: how many, and the share that argmax gets right."""

    source: str
    label: str
    n_rows: int
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredShare:
    """A share of `n_rows` rows, with its 95 % interval of Wilson."""

    share: float
    low: float
    high: float
    n_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageFigures:
    """Rows of one language, or of all but English.

    At Level 1 `recall` and `false_positive_rate` are shares of unsafe and of safe texts that are
    flagged at the proposed threshold, None where there was no text of that kind; at other levels
    both are None.
    """

    language: str
    accuracy: MeasuredShare
    macro_f1: float
    recall: MeasuredShare | None
    false_positive_rate: MeasuredShare | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """All figures of one set of rows; `thresholds` and `proposed` only at Level 1."""

    n_rows: int
    accuracy: float
    macro_f1: float
    classes: Mapping[str, ClassFigures]
    sources: tuple[SourceFigures, ...]
    languages: tuple[LanguageFigures, ...]
    thresholds: tuple[ThresholdFigures, ...]
    proposed: ThresholdFigures | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SingleFigures:
    """Rows with exactly one label, under the most probable label alone.

    So a level that may name several labels compares with one that names one.
    """

    n_rows: int
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiLabelFigures(Figures):
    """Figures of a level of which several labels may hold, each from its threshold.

    `accuracy` is the share of rows with exactly the right labels, `macro_f1` the mean over labels
    that any row has, and `sources` divides rows by all their labels together.

    Attributes:
        single: None without rows that have exactly one label.
        none_flagged: share of the rows without any label for which one holds; None without any.
        best_thresholds: of each label, the threshold in hundredths with the highest F1 on these
            rows, the lower middle of equals; labels without rows are left out.
    """

    single: SingleFigures | None
    none_flagged: MeasuredShare | None
    best_thresholds: Mapping[str, float]


def measure(
    rows: Sequence[TrainingRow],
    targets: NDArray[np.int64],
    scores: NDArray[np.float32],
    labels: Sequence[str],
    *,
    positive: int | None,
    max_false_positive_rate: float,
) -> Figures:
    """Return the figures of at least one row.

    Args:
        rows: the rows, for their sources.
        targets: index of each row's label, [rows].
        scores: probabilities, [rows, labels].
        labels: the labels, in the order of the scores.
        positive: index of the label that Level 1 flags, None for other levels.
        max_false_positive_rate: limit that the proposed threshold keeps.
    """
    predicted = scores.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=range(len(labels)), average=None, zero_division=0
    )
    present = support > 0
    thresholds: tuple[ThresholdFigures, ...] = ()
    proposed = None
    if positive is not None:
        is_positive, flag_scores = targets == positive, scores[:, positive]
        thresholds = tuple(_at(threshold, is_positive, flag_scores) for threshold in _THRESHOLDS)
        threshold = lowest_threshold(flag_scores[~is_positive], max_false_positive_rate)
        proposed = _at(threshold, is_positive, flag_scores)
    return Figures(
        n_rows=len(targets),
        accuracy=float((predicted == targets).mean()),
        macro_f1=float(f1[present].mean()),
        classes=_by_class(labels, precision, recall, f1, support),
        sources=_by_source(rows, targets, predicted, labels),
        languages=_by_language(
            [row.lang for row in rows],
            targets,
            predicted,
            is_positive=None if positive is None else targets == positive,
            is_flagged=None if proposed is None else scores[:, positive] >= proposed.threshold,
        ),
        thresholds=thresholds,
        proposed=proposed,
    )


def measure_labels(
    rows: Sequence[TrainingRow],
    held: NDArray[np.bool_],
    scores: NDArray[np.float32],
    labels: Sequence[str],
    *,
    thresholds: Sequence[float],
) -> MultiLabelFigures:
    """Return the figures of at least one row of a level of which several labels may hold.

    Args:
        rows: the rows, for their sources and languages.
        held: for each label of each row whether it holds, [rows, labels].
        scores: probabilities, [rows, labels].
        labels: the labels, in the order of the scores.
        thresholds: from which probability each label holds, [labels].
    """
    predicted = scores >= np.asarray(thresholds, np.float32)
    precision, recall, f1, support = precision_recall_fscore_support(
        held, predicted, labels=range(len(labels)), average=None, zero_division=0
    )
    present = support > 0
    right = (predicted == held).all(axis=1)
    single = held.sum(axis=1) == 1
    empty = ~held.any(axis=1)
    return MultiLabelFigures(
        n_rows=len(rows),
        accuracy=float(right.mean()),
        macro_f1=float(f1[present].mean()) if present.any() else 0.0,
        classes=_by_class(labels, precision, recall, f1, support),
        sources=_right_by_source(rows, held, right, labels),
        languages=(),
        thresholds=(),
        proposed=None,
        single=_single(held[single].argmax(axis=1), scores[single].argmax(axis=1)),
        none_flagged=measured_share(np.asarray(predicted[empty].any(axis=1))),
        best_thresholds={
            label: best_threshold(held[:, i], scores[:, i])
            for i, label in enumerate(labels)
            if present[i]
        },
    )


def best_threshold(held: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """Find the threshold, in hundredths, with the highest F1; the lower middle of equals.

    A score at the threshold is flagged. Lies between 0.01 and 0.99.
    """
    hundredths = np.arange(1, 100)
    flagged = scores[:, None] >= (hundredths / 100).astype(np.float32)  # [rows, thresholds]
    hits = (flagged & held[:, None]).sum(axis=0)
    f1 = 2 * hits / np.maximum(flagged.sum(axis=0) + held.sum(), 1)
    best = hundredths[f1 == f1.max()]
    return float(best[(len(best) - 1) // 2]) / 100


def _single(targets: NDArray[np.int64], predicted: NDArray[np.int64]) -> SingleFigures | None:
    if len(targets) == 0:
        return None
    present = sorted(set(targets.tolist()))
    return SingleFigures(
        n_rows=len(targets),
        accuracy=float((predicted == targets).mean()),
        macro_f1=float(
            f1_score(targets, predicted, labels=present, average="macro", zero_division=0)
        ),
    )


def _right_by_source(
    rows: Sequence[TrainingRow],
    held: NDArray[np.bool_],
    right: NDArray[np.bool_],
    labels: Sequence[str],
) -> tuple[SourceFigures, ...]:
    hits: dict[tuple[str, str], list[bool]] = {}
    for row, of_row, is_right in zip(rows, held.tolist(), right.tolist(), strict=True):
        named = [label for label, holds in zip(labels, of_row, strict=True) if holds]
        hits.setdefault((row.source, "+".join(named) or NO_LABEL), []).append(is_right)
    return tuple(
        SourceFigures(
            source=source, label=label, n_rows=len(found), accuracy=sum(found) / len(found)
        )
        for (source, label), found in sorted(hits.items())
    )


def lowest_threshold(safe_scores: NDArray[np.float32], max_false_positive_rate: float) -> float:
    """Find the lowest threshold, in hundredths, that flags no larger share of `safe_scores`.

    A score at the threshold is flagged. Lies between 0.01 and 0.99; at 0.99 it may flag more.
    """
    for hundredths in range(1, 99):
        threshold = hundredths / 100
        if safe_scores.size == 0 or (safe_scores >= threshold).mean() <= max_false_positive_rate:
            return threshold
    return 0.99


def _at(
    threshold: float, is_positive: NDArray[np.bool_], scores: NDArray[np.float32]
) -> ThresholdFigures:
    flagged = scores >= threshold
    return ThresholdFigures(
        threshold=threshold,
        recall=float(flagged[is_positive].mean()) if is_positive.any() else None,
        false_positive_rate=float(flagged[~is_positive].mean()) if not is_positive.all() else None,
    )


def _by_source(
    rows: Sequence[TrainingRow],
    targets: NDArray[np.int64],
    predicted: NDArray[np.int64],
    labels: Sequence[str],
) -> tuple[SourceFigures, ...]:
    hits: dict[tuple[str, int], list[bool]] = {}
    for row, target, answer in zip(rows, targets.tolist(), predicted.tolist(), strict=True):
        hits.setdefault((row.source, target), []).append(target == answer)
    return tuple(
        SourceFigures(
            source=source,
            label=labels[target],
            n_rows=len(right),
            accuracy=sum(right) / len(right),
        )
        for (source, target), right in sorted(hits.items())
    )


def _by_language(
    languages: Sequence[str],
    targets: NDArray[np.int64],
    predicted: NDArray[np.int64],
    *,
    is_positive: NDArray[np.bool_] | None,
    is_flagged: NDArray[np.bool_] | None,
) -> tuple[LanguageFigures, ...]:
    """Return the figures of all but English together, and of each language."""
    of_row = np.asarray(languages)
    parts = {language: of_row == language for language in sorted(set(languages))}
    if len(parts) > 1 and "en" in parts:
        parts = {_NOT_ENGLISH: of_row != "en", **parts}
    figures = []
    for language, part in parts.items():
        present = sorted(set(targets[part].tolist()))
        recall = false_positive_rate = None
        if is_positive is not None and is_flagged is not None:
            recall = measured_share(is_flagged[part & is_positive])
            false_positive_rate = measured_share(is_flagged[part & ~is_positive])
        accuracy = measured_share(predicted[part] == targets[part])
        assert accuracy is not None, "a language that is named has rows"
        f1 = f1_score(
            targets[part], predicted[part], labels=present, average="macro", zero_division=0
        )
        figures.append(
            LanguageFigures(
                language=language,
                accuracy=accuracy,
                macro_f1=float(f1),
                recall=recall,
                false_positive_rate=false_positive_rate,
            )
        )
    return tuple(figures)


def measured_share(hits: NDArray[np.bool_]) -> MeasuredShare | None:
    """Return the share of true values with Wilson's 95 % interval (Wilson 1927); None of none."""
    if len(hits) == 0:
        return None
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(_CONFIDENCE, method="wilson")
    return MeasuredShare(
        share=float(hits.mean()),
        low=float(interval.low),
        high=float(interval.high),
        n_rows=len(hits),
    )


def _by_class(
    labels: Sequence[str],
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    f1: NDArray[np.float64],
    support: NDArray[np.int64],
) -> dict[str, ClassFigures]:
    """Return the figures of each label, from arrays [labels]."""
    return {
        label: ClassFigures(
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            n_rows=int(support[i]),
        )
        for i, label in enumerate(labels)
    }
