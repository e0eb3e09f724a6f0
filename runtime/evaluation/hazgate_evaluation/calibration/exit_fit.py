"""Probes and limits of early exits, fitted on one half of the windows and proven on the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hazgate.engine.exit_claim import (
    ClaimTerms,
    JudgedWindows,
    evidence_of,
    leaving,
    limits_to_try,
    loosest_proven,
    missing_flagged,
)
from hazgate.engine.exits import Evidence
from hazgate.errors import InputError
from hazgate_evaluation.calibration.exit_windows import ExitWindows

_FOLDS = 5
# Log-odds by which a graph's 32-bit sums may differ from those here: who is so near leaves.
_SLACK = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedExits:
    """Exits with the counts that prove their claim.

    Attributes:
        probes: shape [n_exits, hidden + 1], the bias last.
        limits: shape [n_exits].
        evidence: of each threshold.
        n_fitted: windows that probes and limits were fitted on.
    """

    probes: NDArray[np.float32]
    limits: NDArray[np.float64]
    evidence: tuple[Evidence, ...]
    n_fitted: int


def fit_exits(windows: ExitWindows, terms: ClaimTerms) -> FittedExits:
    """Fit a probe for each exit and the loosest limits whose claim the other half proves.

    The whole model's decisions at the lowest threshold are the labels. Limits are tried in an order
    that out-of-fold scores of the fitted half give; see hazgate.engine.exit_claim.

    Raises:
        InputError: a half has too few flagged windows, or no limits are proven; says what is
            missing.
    """
    fit, prove = ~windows.held_out, windows.held_out
    _check_enough(windows, terms)
    flagged = windows.unsafe >= min(terms.thresholds)
    n_exits = windows.states.shape[1]
    probes, out_of_fold = [], []
    for k in range(n_exits):
        states = windows.states[fit, k].astype(np.float64)
        out_of_fold.append(
            cross_val_predict(
                _classifier(),
                states,
                flagged[fit],
                groups=windows.group[fit],
                cv=GroupKFold(_FOLDS),
                method="decision_function",
            )
        )
        probes.append(_probe(_classifier().fit(states, flagged[fit])))
    fitted = np.stack(probes).astype(np.float32)
    tried = limits_to_try(
        JudgedWindows(log_odds=np.stack(out_of_fold, axis=1), unsafe=windows.unsafe[fit]),
        terms.thresholds,
    )
    held_out = JudgedWindows(
        log_odds=_log_odds(windows.states[prove], fitted) - _SLACK, unsafe=windows.unsafe[prove]
    )
    limits = loosest_proven(held_out, tried, terms)
    if limits is None:
        raise InputError(
            "not even the strictest limits keep the claim on the half that proves it: give more "
            "texts like those that are served, or another max_missed_share"
        )
    left = leaving(held_out.log_odds, limits)
    return FittedExits(
        probes=fitted,
        limits=limits,
        evidence=evidence_of(held_out.unsafe, left, terms),
        n_fitted=int(fit.sum()),
    )


def _check_enough(windows: ExitWindows, terms: ClaimTerms) -> None:
    """Refuse too few flagged windows.

    Raises:
        InputError: for a threshold the half that proves has too few, or the half to fit on has too
            few groups with flagged windows, or with others.
    """
    missing = missing_flagged(windows.unsafe[windows.held_out], terms)
    if missing:
        listed = ", ".join(f"{n} at P(unsafe) {threshold:g}" for threshold, n in missing.items())
        raise InputError(
            f"too few flagged windows to prove the claim: {listed} are missing of "
            f"{terms.least_flagged} in the half of the groups that proves it. Give about twice as "
            "many more texts that the model flags, or fewer thresholds"
        )
    flagged = windows.unsafe >= min(terms.thresholds)
    for name, chosen in (("flagged", flagged), ("not flagged", ~flagged)):
        n_groups = len(np.unique(windows.group[chosen & ~windows.held_out]))
        if n_groups < 2 * _FOLDS:
            raise InputError(
                f"too few groups to fit on: {n_groups} have windows that are {name}, and "
                f"{2 * _FOLDS} are needed"
            )


def _classifier() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))


def _probe(fitted: Pipeline) -> NDArray[np.float64]:
    """Return weights and bias for states that are not standardised, shape [hidden + 1]."""
    scaler, regression = fitted[0], fitted[1]
    weights = regression.coef_[0] / scaler.scale_
    bias = regression.intercept_[0] - float(weights @ scaler.mean_)
    return np.append(weights, bias)


def _log_odds(states: NDArray[np.float32], probes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log-odds of each probe, shape [n, n_exits]."""
    wide = probes.astype(np.float64)
    products = np.einsum("neh,eh->ne", states.astype(np.float64), wide[:, :-1])
    return np.asarray(products + wide[:, -1])
