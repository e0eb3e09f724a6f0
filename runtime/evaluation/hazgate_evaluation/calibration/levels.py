"""One level before and after its temperature, fitted and measured on separate rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from hazgate.judging.scores import calibrated
from hazgate_evaluation.calibration.plot import Curves
from hazgate_evaluation.calibration.report import LevelCalibration
from hazgate_evaluation.calibration.temperature import (
    fit_temperature,
    negative_log_likelihood,
)
from hazgate_evaluation.estimates import Resampling
from hazgate_evaluation.reliability import calibration_error


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One level's logits [n, n_labels], labels [n], and the rows to fit on [n]."""

    name: str
    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    fit: NDArray[np.bool_]
    group: NDArray[np.int64]

    def test_resampling(self) -> Resampling:
        """Resample the rows that were not fitted on."""
        _, group = np.unique(self.group[~self.fit], return_inverse=True)
        return Resampling(group=group.astype(np.int64))


def calibrate_level(level: Level) -> tuple[LevelCalibration, Curves]:
    """Fit the level's temperature, measure its effect, and return the curves to draw.

    Raises:
        InputError: no temperature fits.
    """
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


def _promise(level: Level, temperature: float) -> NDArray[np.float64]:
    """Return P(unsafe) for two labels, the highest probability for more; shape [n]."""
    probabilities = calibrated(level.logits, temperature)
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities.max(axis=1)


def _hits(level: Level) -> NDArray[np.bool_]:
    """Tell which predictions come true, shape [n]; no temperature changes it."""
    if level.logits.shape[1] == 2:
        return np.asarray(level.labels == 1)
    return np.asarray(level.logits.argmax(axis=1) == level.labels)


def _isotonic(level: Level) -> NDArray[np.float64]:
    """Fit P(unsafe) by isotonic regression (Zadrozny and Elkan 2002); shape [n]."""
    promised = _promise(level, 1.0)
    regression = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    regression.fit(promised[level.fit], level.labels[level.fit])
    return np.asarray(regression.predict(promised), dtype=np.float64)
