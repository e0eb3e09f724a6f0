"""Calibration of a gate's scores: temperatures, thresholds and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import BundleError, InputError
from hazgate.judging.classification import LabelHead
from hazgate.judging.scores import Activation, calibrated
from hazgate.judging.verdict import ModelIdentity
from hazgate_evaluation.calibration.beside import points_beside
from hazgate_evaluation.calibration.levels import Level, calibrate_level
from hazgate_evaluation.calibration.plot import Curves
from hazgate_evaluation.calibration.points import (
    MIN_ROWS,
    choose_pair,
    hazard_points,
    point_or_problem,
)
from hazgate_evaluation.calibration.report import SCHEMA_VERSION, CalibrationReport
from hazgate_evaluation.calibration.split import fit_half
from hazgate_evaluation.calibration.temperature import binary_logits, logits_of
from hazgate_evaluation.calibration.thresholds import ThresholdTarget
from hazgate_evaluation.report import DataFacts
from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.scores import Scores
from hazgate_evaluation.truth import Truth, check_both_classes

_SEED = 20260
_TABLE = (
    *(ThresholdTarget(kind="fpr", value=value) for value in (0.01, 0.02, 0.05, 0.1, 0.2)),
    *(ThresholdTarget(kind="recall", value=value) for value in (0.7, 0.8, 0.9, 0.95, 0.99)),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationResult:
    """The report, and the curves to draw."""

    report: CalibrationReport
    level1: Curves
    level2: Curves | None


def check_level1_labels(labels: tuple[str, ...], positive: str) -> None:
    """Refuse a Level 1 that P(unsafe) alone does not describe.

    Raises:
        BundleError: Level 1 does not have two labels with the positive one among them.
    """
    if len(labels) != 2 or positive not in labels:
        raise BundleError(f"calibrate needs a Level 1 of two labels; this bundle has {labels}")


def check_hazard_head(activation: Activation) -> None:
    """Refuse hazards that need one temperature each.

    Raises:
        BundleError: Level 2 is multi-label.
    """
    if activation != "softmax":
        raise BundleError(
            "calibrate fits one temperature to a Level 2 with one hazard per text; this bundle's "
            "is multi-label: choose its hazards' thresholds from `hazgate evaluate`"
        )


def calibrate(
    truth: Truth,
    scores: Scores,
    labels: tuple[str, ...],
    target: ThresholdTarget,
    *,
    data: DataFacts,
    model: ModelIdentity,
    rows: Sequence[LabelledRow] = (),
    beside: Mapping[str, LabelHead] | None = None,
) -> CalibrationResult:
    """Fit on one half of the groups and measure on the other.

    Args:
        truth: the labels of n rows.
        scores: the gate's scores on them.
        labels: the hazards.
        target: what the policy's threshold `unsafe` must keep. Its `controversial` is the lowest
            threshold of at most twice the false-positive rate.
        data: the rows, for the report.
        model: the gate, for the report.
        rows: the n rows, needed with `beside` alone.
        beside: levels beside the cascade whose thresholds are chosen, too; None for none.

    Raises:
        InputError: a half has too few rows of a class, or the target cannot be reached; or no label
            of a level in `beside` has a threshold that could be chosen.
    """
    fit = fit_half(truth.group, _SEED)
    _check_halves(truth, fit)
    known, named = truth.known, truth.has_hazard
    level1 = Level(
        name="Level 1",
        logits=binary_logits(scores.unsafe[known]),
        labels=truth.unsafe[known].astype(np.int64),
        fit=fit[known],
        group=truth.group[known],
    )
    level1_found, level1_curves = calibrate_level(level1)
    probabilities = calibrated(level1.logits, level1_found.temperature)[:, 1]
    chosen = choose_pair(level1, probabilities, target)
    level2 = Level(
        name="Level 2",
        logits=logits_of(scores.hazards[named]),
        labels=truth.hazard[named],
        fit=fit[named],
        group=truth.group[named],
    )
    enough = min(int(level2.fit.sum()), int((~level2.fit).sum())) >= MIN_ROWS
    level2_found, level2_curves = calibrate_level(level2) if enough else (None, None)
    report = CalibrationReport(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        policy=f"{model.bundle}-{target.kind}{100 * target.value:g}",
        bundle=model.bundle,
        digest=model.digest,
        variant=model.variant,
        data=data,
        level1=level1_found,
        level2=level2_found,
        unsafe=chosen[0],
        controversial=chosen[1],
        table=tuple(
            point_or_problem(level1, probabilities, level1.labels == 1, each) for each in _TABLE
        ),
        hazards=hazard_points(level2, level2_found, labels, target) if level2_found else (),
        levels=points_beside(rows, beside or {}, scores.levels, target, fit=fit, group=truth.group),
    )
    return CalibrationResult(report=report, level1=level1_curves, level2=level2_curves)


def _check_halves(truth: Truth, fit: NDArray[np.bool_]) -> None:
    check_both_classes(truth)
    for name, half in (("fitted", fit), ("measured", ~fit)):
        counted = truth.known & half
        n_unsafe = int((counted & truth.unsafe).sum())
        n_safe = int(counted.sum()) - n_unsafe
        if min(n_unsafe, n_safe) < MIN_ROWS:
            raise InputError(
                f"the half of the groups that is {name} on has {n_unsafe} unsafe rows and "
                f"{n_safe} others, each must be at least {MIN_ROWS}; add rows"
            )
