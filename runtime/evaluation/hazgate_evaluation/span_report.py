"""An evaluation of token levels as data, and as a table for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.judging.verdict import ModelIdentity
from hazgate_evaluation.estimates import with_interval
from hazgate_evaluation.span_figures import SpanFigures, SpanScores

SPAN_SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanSystem:
    """One variant of a token level: its identity, its figures, and the seconds for all rows."""

    level: str
    model: ModelIdentity
    seconds: float
    figures: SpanFigures


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanReport:
    """The content of `report.json`; `hazgate` is the release, `command` the command line."""

    schema_version: int
    hazgate: str
    command: str
    created: str
    data: str
    data_sha256: str
    n_rows: int
    systems: tuple[SpanSystem, ...]


def span_table(systems: Sequence[SpanSystem]) -> str:
    """Write the figures of each variant and type as a Markdown table."""
    lines = [
        "| variant | type | marked | found | exact P | R | F1 (95 %) | overlapping P | R | F1 "
        "(95 %) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for system in systems:
        figures = system.figures
        for name, of_type in (("all", figures.all_types), *figures.by_type.items()):
            lines.append(
                f"| {system.model.variant} | {name} | {of_type.n_marked} | {of_type.n_found} | "
                f"{_cells(of_type.exact)} | {_cells(of_type.overlapping)} |"
            )
        lines.append(
            f"| {system.model.variant} | mean of types |  |  |  |  | "
            f"{with_interval(figures.macro_exact)} |  |  | "
            f"{with_interval(figures.macro_overlapping)} |"
        )
    return "\n".join(lines)


def _cells(scores: SpanScores) -> str:
    plain = (
        "–" if each is None else f"{each.value:.3f}" for each in (scores.precision, scores.recall)
    )
    return " | ".join([*plain, with_interval(scores.f1)])
