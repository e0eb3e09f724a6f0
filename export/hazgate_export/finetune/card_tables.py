"""Figures as tables of Markdown, for an adapter's card."""

from collections.abc import Iterable, Sequence

from hazgate_export.finetune.evaluate import Figures, MeasuredShare, ThresholdFigures


def figure_tables(figures: Figures) -> str:
    """Write the summary and all tables of one set of figures."""
    summary = f"Macro-F1 {figures.macro_f1:.3f}, accuracy {figures.accuracy:.3f}, "
    threshold_part = ""
    if figures.proposed is not None:
        rows = sorted((*figures.thresholds, figures.proposed), key=lambda row: row.threshold)
        header = ("threshold", "recall of unsafe", "false positives of safe")
        threshold_part = (
            f"\n\n{table(header, map(_at_threshold, rows))}\n\n"
            f"{figures.proposed.threshold:.2f} is the lowest threshold within the recipe's "
            "`max_false_positive_rate` on these rows."
        )
    classes = (
        (label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", str(c.n_rows))
        for label, c in figures.classes.items()
    )
    sources = ((s.source, s.label, f"{s.accuracy:.3f}", str(s.n_rows)) for s in figures.sources)
    return f"""{summary}{figures.n_rows} rows.{threshold_part}

{_language_table(figures)}

{table(("class", "precision", "recall", "F1", "rows"), classes)}

{table(("source", "class", "right", "rows"), sources)}
"""


def _at_threshold(row: ThresholdFigures) -> tuple[str, str, str]:
    return f"{row.threshold:.2f}", _share(row.recall), _share(row.false_positive_rate)


def _language_table(figures: Figures) -> str:
    """Write the languages' figures with their 95 % intervals."""
    if figures.proposed is None:
        rows = (
            (f.language, _interval(f.accuracy), f"{f.macro_f1:.3f}", str(f.accuracy.n_rows))
            for f in figures.languages
        )
        return table(("language", "right (95 % interval)", "macro-F1", "rows"), rows)
    at = f"at {figures.proposed.threshold:.2f} (95 % interval, rows)"
    header = ("language", f"recall of unsafe {at}", f"false positives of safe {at}")
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
