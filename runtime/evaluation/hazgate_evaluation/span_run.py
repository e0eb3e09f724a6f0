"""Evaluation of token levels on texts with marked spans."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from hazgate import __version__
from hazgate.errors import BundleError
from hazgate.judging.verdict import LabelledSpan
from hazgate.token_classifier import TokenClassifier
from hazgate_evaluation.span_figures import span_figures
from hazgate_evaluation.span_report import SPAN_SCHEMA_VERSION, SpanReport, SpanSystem
from hazgate_evaluation.span_rows import SpanDataset

_CHUNK_ROWS = 64


def check_same_types(levels: Sequence[TokenClassifier]) -> tuple[str, ...]:
    """Return the types of spans that all levels share.

    Raises:
        BundleError: the types differ, so that no file can have marks for all levels.
    """
    first, *others = levels
    for other in others:
        if other.types != first.types:
            raise BundleError(
                f"{first.model.variant} and {other.model.variant} cannot be compared, their types "
                f"differ: {', '.join(first.types)} and {', '.join(other.types)}"
            )
    return first.types


def evaluate_levels(
    levels: Sequence[TokenClassifier],
    dataset: SpanDataset,
    command: str,
    begin: Callable[[str, int], Callable[[int], None]],
) -> SpanReport:
    """Evaluate token levels on the same rows.

    Args:
        levels: open levels of the same types.
        dataset: rows with marks of those types.
        command: the command line, for the report.
        begin: called with the name and number of texts of each step.

    Raises:
        InputError: a text cannot be read.
        InferenceError: a model failed.
    """
    types = check_same_types(levels)
    systems = []
    for level in levels:
        advance = begin(f"find {level.model.bundle} {level.model.variant}", len(dataset.rows))
        start_s = time.perf_counter()
        found: list[tuple[LabelledSpan, ...]] = []
        for at in range(0, len(dataset.rows), _CHUNK_ROWS):
            rows = dataset.rows[at : at + _CHUNK_ROWS]
            results = level.find_many(
                [row.text for row in rows], contexts=[row.context for row in rows]
            )
            found.extend(result.spans for result in results)
            advance(len(rows))
        systems.append(
            SpanSystem(
                level=level.level,
                model=level.model,
                seconds=time.perf_counter() - start_s,
                figures=span_figures(dataset.rows, found, types),
            )
        )
    return SpanReport(
        schema_version=SPAN_SCHEMA_VERSION,
        hazgate=__version__,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=dataset.name,
        data_sha256=dataset.sha256,
        n_rows=len(dataset.rows),
        systems=tuple(systems),
    )
