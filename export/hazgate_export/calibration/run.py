"""From a gate's scores on labelled texts to temperatures, thresholds and a report."""

from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from hazgate.errors import BundleError, InputError
from hazgate.evaluation.estimates import Resampling
from hazgate.evaluation.level1 import flag_figures
from hazgate.evaluation.reliability import calibration_error
from hazgate.evaluation.report import DataFacts
from hazgate.evaluation.rows import Truth, check_both_classes
from hazgate.evaluation.scores import Scores
from hazgate.verdict import ModelIdentity
from hazgate_export.calibration.plot import Curves
from hazgate_export.calibration.report import (
    SCHEMA_VERSION,
    CalibrationReport,
    HazardPoint,
    LevelCalibration,
    OperatingPoint,
)
from hazgate_export.calibration.split import fit_half
from hazgate_export.calibration.temperature import (
    binary_logits,
    fit_temperature,
    logits_of,
    negative_log_likelihood,
    scaled,
)
from hazgate_export.calibration.thresholds import (
    Candidates,
    Target,
    candidates,
    choose_threshold,
)

# Of fewer rows in a half, nothing is fitted.
MIN_ROWS = 30
_SEED = 20260
_TABLE = (
    *(Target(kind="fpr", value=value) for value in (0.01, 0.02, 0.05, 0.1, 0.2)),
    *(Target(kind="recall", value=value) for value in (0.7, 0.8, 0.9, 0.95, 0.99)),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """The report, and what its figure is drawn from."""

    report: CalibrationReport
    gate: Curves
    hazards: Curves | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """One level's logits and labels, and which rows are fitted on; shape [n] or [n, n_labels]."""

    name: str
    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    fit: NDArray[np.bool_]
    group: NDArray[np.int64]

    def test_resampling(self) -> Resampling:
        """Of the rows that were not fitted on."""
        _, group = np.unique(self.group[~self.fit], return_inverse=True)
        return Resampling(group=group.astype(np.int64))


def check_gate_labels(labels: tuple[str, ...], positive: str) -> None:
    """Refuses a gate whose probabilities P(unsafe) alone does not give.

    Raises:
        BundleError: Level 1 has not two labels, the positive one among them.
    """
    if len(labels) != 2 or positive not in labels:
        raise BundleError(f"calibrate takes a Level 1 of two labels, this bundle has {labels}")


def calibrate(
    truth: Truth,
    scores: Scores,
    labels: tuple[str, ...],
    target: Target,
    *,
    data: DataFacts,
    model: ModelIdentity,
) -> Calibrated:
    """Fits on one half of the groups, measures on the other.

    Args:
        truth: the labels of n rows.
        scores: what the gate said of them.
        labels: the hazards.
        target: what the policy's threshold `unsafe` must keep. Its `controversial` is the lowest
            threshold of at most twice the false-positive rate.
        data: the rows, for the report.
        model: the gate, for the report.

    Raises:
        InputError: a half has too few rows of a class, or the target cannot be reached.
    """
    fit = fit_half(truth.group, _SEED)
    _check_halves(truth, fit)
    known, named = truth.known, truth.has_hazard
    gate = _Level(
        name="Level 1",
        logits=binary_logits(scores.unsafe[known]),
        labels=truth.unsafe[known].astype(np.int64),
        fit=fit[known],
        group=truth.group[known],
    )
    gate_level, gate_curves = _calibrate_level(gate)
    calibrated = scaled(gate.logits, gate_level.temperature)[:, 1]
    chosen = _choose_pair(gate, calibrated, target)
    hazards = _Level(
        name="Level 2",
        logits=logits_of(scores.hazards[named]),
        labels=truth.hazard[named],
        fit=fit[named],
        group=truth.group[named],
    )
    enough = min(int(hazards.fit.sum()), int((~hazards.fit).sum())) >= MIN_ROWS
    hazard_level, hazard_curves = _calibrate_level(hazards) if enough else (None, None)
    report = CalibrationReport(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        policy=f"{model.bundle}-{target.kind}{100 * target.value:g}",
        bundle=model.bundle,
        digest=model.digest,
        variant=model.variant,
        data=data,
        gate=gate_level,
        hazard_level=hazard_level,
        unsafe=chosen[0],
        controversial=chosen[1],
        table=tuple(_point_or_problem(gate, calibrated, gate.labels == 1, each) for each in _TABLE),
        hazards=_hazard_points(hazards, hazard_level, labels, target) if hazard_level else (),
    )
    return Calibrated(report=report, gate=gate_curves, hazards=hazard_curves)


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


def _calibrate_level(level: _Level) -> tuple[LevelCalibration, Curves]:
    fit, test = level.fit, ~level.fit
    temperature = fit_temperature(level.logits[fit], level.labels[fit], level=level.name)
    resampling = level.test_resampling()
    before, after = (_promise(level, t) for t in (1.0, temperature))
    isotonic = _isotonic(level) if level.logits.shape[1] == 2 else None
    hits = _hits(level)
    tested = hits[test]
    return LevelCalibration(
        temperature=temperature,
        n_fit=int(fit.sum()),
        n_test=int(test.sum()),
        ece_before=calibration_error(before[test], tested, resampling),
        ece_after=calibration_error(after[test], tested, resampling),
        ece_isotonic=None
        if isotonic is None
        else calibration_error(isotonic[test], tested, resampling),
        nll_before=negative_log_likelihood(level.logits[test], level.labels[test], 1.0),
        nll_after=negative_log_likelihood(level.logits[test], level.labels[test], temperature),
    ), Curves(
        hits=tested,
        before=before[test],
        after=after[test],
        isotonic=None if isotonic is None else isotonic[test],
    )


def _promise(level: _Level, temperature: float) -> NDArray[np.float64]:
    """P(unsafe) of two labels, the highest probability of more; shape [n]."""
    probabilities = scaled(level.logits, temperature)
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities.max(axis=1)


def _hits(level: _Level) -> NDArray[np.bool_]:
    """What the promise is about; no temperature changes it."""
    if level.logits.shape[1] == 2:
        return np.asarray(level.labels == 1)
    return np.asarray(level.logits.argmax(axis=1) == level.labels)


def _isotonic(level: _Level) -> NDArray[np.float64]:
    """P(unsafe) by isotonic regression on the fitted half (Zadrozny and Elkan 2002)."""
    promised = _promise(level, 1.0)
    regression = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    regression.fit(promised[level.fit], level.labels[level.fit])
    return np.asarray(regression.predict(promised), dtype=np.float64)


def _choose_pair(
    gate: _Level, calibrated: NDArray[np.float64], target: Target
) -> tuple[OperatingPoint, OperatingPoint]:
    """The policy's `unsafe` and `controversial`."""
    positive = gate.labels == 1
    found = candidates(positive[gate.fit], calibrated[gate.fit])
    unsafe = choose_threshold(found, target)
    rate = target.value if target.kind == "fpr" else _rate_at(found, unsafe)
    # On rows where the target costs no false positive, twice nothing would not be more cautious.
    cautious = Target(kind="fpr", value=round(max(2 * rate, 2 / found.n_negative), 4))
    controversial = min(unsafe, choose_threshold(found, cautious)) if cautious.value < 1 else unsafe
    return (
        _measure(gate, calibrated, positive, target, unsafe),
        _measure(gate, calibrated, positive, cautious, controversial),
    )


def _rate_at(found: Candidates, threshold: float) -> float:
    """The false-positive rate at a chosen threshold, rounding aside."""
    i = int(np.abs(found.thresholds - threshold).argmin())
    return float(found.false_positive_rate[i])


def _hazard_points(
    level: _Level, found: LevelCalibration, labels: tuple[str, ...], target: Target
) -> tuple[HazardPoint, ...]:
    calibrated = scaled(level.logits, found.temperature)
    points = []
    for i, label in enumerate(labels):
        positive = level.labels == i
        n_fit, n_test = int((positive & level.fit).sum()), int((positive & ~level.fit).sum())
        if min(n_fit, n_test) < MIN_ROWS:
            point = _no_point(target, f"fewer than {MIN_ROWS} rows in a half")
        else:
            point = _point_or_problem(level, calibrated[:, i], positive, target)
        points.append(HazardPoint(hazard=label, n_fit=n_fit, n_test=n_test, point=point))
    return tuple(points)


def _point_or_problem(
    level: _Level, calibrated: NDArray[np.float64], positive: NDArray[np.bool_], target: Target
) -> OperatingPoint:
    try:
        threshold = choose_threshold(candidates(positive[level.fit], calibrated[level.fit]), target)
    except InputError as error:
        return _no_point(target, str(error))
    return _measure(level, calibrated, positive, target, threshold)


def _measure(
    level: _Level,
    calibrated: NDArray[np.float64],
    positive: NDArray[np.bool_],
    target: Target,
    threshold: float,
) -> OperatingPoint:
    """What a threshold gives on the rows that were not fitted on."""
    test = ~level.fit
    figures = flag_figures(positive[test], calibrated[test] >= threshold, level.test_resampling())
    return OperatingPoint(
        target=target,
        threshold=threshold,
        false_positive_rate=figures.false_positive_rate,
        recall=figures.recall,
        precision=figures.precision,
        problem=None,
    )


def _no_point(target: Target, problem: str) -> OperatingPoint:
    return OperatingPoint(
        target=target,
        threshold=None,
        false_positive_rate=None,
        recall=None,
        precision=None,
        problem=problem,
    )
