"""Figures as tables of Markdown, for an adapter's card."""

from collections.abc import Iterable, Sequence

from hazgate_export.finetune.evaluate import (
    ClassFigures,
    Figures,
    MeasuredShare,
    MultiLabelFigures,
    ThresholdFigures,
)
from hazgate_export.finetune.measure_spans import TokenLevelFigures


def figure_tables(figures: Figures, positive: str = "unsafe", others: str = "safe") -> str:
    """Write the summary and all tables of one set of figures.

    Args:
        figures: the figures.
        positive: the label that the level looks for, where it has one.
        others: its other labels, likewise.
    """
    if isinstance(figures, MultiLabelFigures):
        return _multi_label_tables(figures)
    if isinstance(figures, TokenLevelFigures):
        return _span_tables(figures)
    summary = f"Macro-F1 {figures.macro_f1:.3f}, accuracy {figures.accuracy:.3f}, "
    threshold_part = ""
    if figures.proposed is not None:
        rows = sorted((*figures.thresholds, figures.proposed), key=lambda row: row.threshold)
        header = ("threshold", f"recall of {positive}", f"false positives of {others}")
        threshold_part = (
            f"\n\n{table(header, map(_at_threshold, rows))}\n\n"
            f"{figures.proposed.threshold:.2f} is the lowest threshold within the recipe's "
            "`max_false_positive_rate` on these rows."
        )
    return f"""{summary}{figures.n_rows} rows.{threshold_part}

{_language_table(figures, positive, others)}

{_class_table(figures)}

{_source_table(figures)}
"""


def _multi_label_tables(figures: MultiLabelFigures) -> str:
    single = figures.single
    parts = [
        f"Macro-F1 over labels {figures.macro_f1:.3f}, exactly the right labels "
        f"{figures.accuracy:.3f}, {figures.n_rows} rows."
    ]
    if single is not None:
        parts.append(
            f"Most probable label of the {single.n_rows} rows with one: macro-F1 "
            f"{single.macro_f1:.3f}, accuracy {single.accuracy:.3f}."
        )
    if figures.none_flagged is not None:
        flagged = _interval_of(figures.none_flagged)
        parts.append(f"Rows without a label for which one holds (95 % interval, rows): {flagged}.")
    best = ", ".join(f"{label} {value:.2f}" for label, value in figures.best_thresholds.items())
    parts.append(f"Thresholds with the highest F1 on these rows: {best or 'none'}.")
    return "\n\n".join([*parts, _class_table(figures), _source_table(figures)]) + "\n"


def _span_tables(figures: TokenLevelFigures) -> str:
    header = ("type", "equal: precision", "recall", "F1", "overlapping: precision", "recall", "F1")
    pairs = {label: (equal, figures.overlapping[label]) for label, equal in figures.classes.items()}
    pairs["all"] = (figures.all_equal, figures.all_overlapping)
    rows = (
        (label, *_three(equal), *_three(overlapping), str(equal.n_rows))
        for label, (equal, overlapping) in pairs.items()
    )
    parts = [
        f"Macro-F1 of equal spans {figures.macro_f1:.3f}, rows with exactly the right spans "
        f"{figures.accuracy:.3f}, {figures.n_rows} rows.",
        "A span is *equal* with the type and both ends of a marked one; it is *overlapping* with "
        "its type and a\ncharacter in common.",
    ]
    if figures.none_flagged is not None:
        flagged = _interval_of(figures.none_flagged)
        parts.append(f"Rows without a span in which one is found (95 % interval, rows): {flagged}.")
    return "\n\n".join([*parts, table((*header, "spans"), rows), _source_table(figures)]) + "\n"


def _three(figures: ClassFigures) -> tuple[str, str, str]:
    return f"{figures.precision:.3f}", f"{figures.recall:.3f}", f"{figures.f1:.3f}"


def _class_table(figures: Figures) -> str:
    rows = (
        (label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", str(c.n_rows))
        for label, c in figures.classes.items()
    )
    return table(("class", "precision", "recall", "F1", "rows"), rows)


def _source_table(figures: Figures) -> str:
    rows = ((s.source, s.label, f"{s.accuracy:.3f}", str(s.n_rows)) for s in figures.sources)
    return table(("source", "class", "right", "rows"), rows)


def _at_threshold(row: ThresholdFigures) -> tuple[str, str, str]:
    return f"{row.threshold:.2f}", _share(row.recall), _share(row.false_positive_rate)


def _language_table(figures: Figures, positive: str, others: str) -> str:
    """Write the languages' figures with their 95 % intervals."""
    if figures.proposed is None:
        rows = (
            (f.language, _interval(f.accuracy), f"{f.macro_f1:.3f}", str(f.accuracy.n_rows))
            for f in figures.languages
        )
        return table(("language", "right (95 % interval)", "macro-F1", "rows"), rows)
    at = f"at {figures.proposed.threshold:.2f} (95 % interval, rows)"
    header = ("language", f"recall of {positive} {at}", f"false positives of {others} {at}")
    flagged = (
        (f.language, _interval_of(f.recall), _interval_of(f.false_positive_rate))
        for f in figures.languages
    )
    return table(header, flagged)


def _interval(measured: MeasuredShare) -> str:
    return f"{measured.share:.3f} ({measured.low:.3f} to {measured.high:.3f})"


def _interval_of(measured: MeasuredShare | None) -> str:
    if measured is None:
        return "–"
    return f"{_interval(measured)[:-1]}, {measured.n_rows})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
