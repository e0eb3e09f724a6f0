"""Results of a calibration, as data and as tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hazgate.documents.decode import spelt
from hazgate_evaluation.calibration.thresholds import ThresholdTarget
from hazgate_evaluation.estimates import Estimate
from hazgate_evaluation.report import DataFacts

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelCalibration:
    """One level: its temperature, fitted on one half, and its effect on the other.

    `ece_isotonic` is the error of isotonic regression on the first half, for comparison only;
    None for a level of more than two labels. `nll` is in nats per row.
    """

    temperature: float
    n_fit: int
    n_test: int
    ece_before: Estimate | None
    ece_after: Estimate | None
    ece_isotonic: Estimate | None
    nll_before: float
    nll_after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredThreshold:
    """A threshold on calibrated probabilities, chosen on the first half for a target.

    The figures are measured on the other half. `problem` is the reason if there is no threshold.
    """

    target: ThresholdTarget
    threshold: float | None
    false_positive_rate: Estimate | None
    recall: Estimate | None
    precision: Estimate | None
    problem: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HazardPoint:
    """One hazard against the rest, on rows whose hazard is known."""

    hazard: str
    n_fit: int
    n_test: int
    point: MeasuredThreshold


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelPoint:
    """One label of a level beside the cascade against the rest, on rows whose labels are known.

    `n_fit` and `n_test` count the rows with the label in each half.
    """

    label: str
    n_fit: int
    n_test: int
    point: MeasuredThreshold


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelPoints:
    """The points of a level beside the cascade: of each label that flags a text."""

    level: str
    labels: tuple[LabelPoint, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationReport:
    """All results of a calibration.

    `unsafe` and `controversial` are the policy's points. If too few rows name a hazard, `level2`
    is None and `hazards` is empty. `levels` has the levels beside the cascade that were asked for.
    """

    schema_version: int
    created: str
    policy: str
    bundle: str
    digest: str
    variant: str
    data: DataFacts
    level1: LevelCalibration = field(metadata=spelt("gate"))
    level2: LevelCalibration | None = field(metadata=spelt("hazard_level"))
    unsafe: MeasuredThreshold
    controversial: MeasuredThreshold
    table: tuple[MeasuredThreshold, ...]
    hazards: tuple[HazardPoint, ...]
    levels: tuple[LevelPoints, ...] = ()


def markdown(report: CalibrationReport) -> str:
    """Format the report's tables in Markdown."""
    lines = [
        f"`{report.bundle}` {report.variant}, temperatures fitted on one half of the groups of "
        f"{report.data.name}, all figures of the other half [95 % interval].",
        "",
        "| level | texts fitted on | texts measured on | temperature | ECE before | ECE after "
        "| NLL before | NLL after |",
        "|---|---|---|---|---|---|---|---|",
        _level_line("Level 1", report.level1),
    ]
    if report.level2:
        lines.append(_level_line("Level 2", report.level2))
    lines += ["", *_points("target", [(str(point.target), point) for point in report.table])]
    chosen = [
        (f"`{name}`: {point.target}", point)
        for name, point in (("unsafe", report.unsafe), ("controversial", report.controversial))
    ]
    lines += ["", *_points("chosen for the policy", chosen)]
    if report.hazards:
        target = report.hazards[0].point.target
        points = [(each.hazard, each.point) for each in report.hazards]
        lines += ["", *_points(f"hazard against the rest, {target}", points)]
    for level in report.levels:
        points = [(each.label, each.point) for each in level.labels]
        target = level.labels[0].point.target
        lines += ["", *_points(f"{level.level}, a label against the rest, {target}", points)]
    return "\n".join(lines)


def _level_line(name: str, level: LevelCalibration) -> str:
    return (
        f"| {name} | {level.n_fit} | {level.n_test} | {level.temperature:g} | "
        f"{_estimate(level.ece_before)} | {_estimate(level.ece_after)} | "
        f"{level.nll_before:.4f} | {level.nll_after:.4f} |"
    )


def _points(title: str, points: Sequence[tuple[str, MeasuredThreshold]]) -> list[str]:
    lines = [
        f"| {title} | threshold | false-positive rate | recall | precision |",
        "|---|---|---|---|---|",
    ]
    for name, point in points:
        threshold = "–" if point.threshold is None else f"{point.threshold:.4f}"
        figures = (point.false_positive_rate, point.recall, point.precision)
        lines.append(f"| {name} | {threshold} | {' | '.join(map(_estimate, figures))} |")
    return lines


def _estimate(figure: Estimate | None) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}–{figure.high:.3f}]" if figure else "–"
