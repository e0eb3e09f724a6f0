"""An evaluation of one level's labels as data, and as a table for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.judging.verdict import ModelIdentity
from hazgate_evaluation.estimates import with_interval
from hazgate_evaluation.label_figures import LabelledLevelFigures

LEVEL_SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSystem:
    """One variant of a level: its identity, its figures, and the seconds for all rows."""

    level: str
    model: ModelIdentity
    seconds: float
    figures: LabelledLevelFigures


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelReport:
    """The content of `report.json`; `hazgate` is the release, `command` the command line.

    `n_rows` of the `n_rows_in_file` say which labels hold.
    """

    schema_version: int
    hazgate: str
    command: str
    created: str
    data: str
    data_sha256: str
    n_rows: int
    n_rows_in_file: int
    systems: tuple[LevelSystem, ...]


def level_table(systems: Sequence[LevelSystem]) -> str:
    """Write the figures of each variant and label as Markdown tables."""
    lines = [
        "| variant | label | rows | precision (95 %) | recall (95 %) | F1 (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for system in systems:
        for name, label in system.figures.labels.items():
            cells = " | ".join(map(with_interval, (label.precision, label.recall, label.f1)))
            lines.append(f"| {system.model.variant} | {name} | {label.n_rows} | {cells} |")
    lines += [
        "",
        "| variant | rows | macro-F1 (95 %) | all labels right (95 %) | false alarms (95 %) |",
        "|---|---|---|---|---|",
    ]
    for system in systems:
        figures = system.figures
        cells = " | ".join(
            map(with_interval, (figures.macro_f1, figures.accuracy, figures.false_alarms))
        )
        lines.append(f"| {system.model.variant} | {figures.n_rows} | {cells} |")
    return "\n".join(lines)
