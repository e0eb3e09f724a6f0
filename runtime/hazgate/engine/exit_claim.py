"""The choice of limits for early exits, and the proof of the claim about them.

Learn then Test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing: the limits to
try are put in an order, from strict to loose, on some windows. On others, which had no part in
that, each is tested by the exact binomial tail, and the first failure ends the search. At each
threshold by itself, the chance to accept limits that miss more than the claim allows is then at
most 1 - confidence, however many were tried.

The tail is that of independent draws. Windows that are near copies of each other, such as those
that one template made, are not: keep them together in one `group`, and have many groups.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.exits import Evidence
from hazgate.judging.binomial import tail, upper_bound
from hazgate.judging.scores import log_odds

Floats = NDArray[np.float64]

# The claim needs more windows than the probes do.
_HELD_OUT_SHARE = 0.6
# Log-odds by which the strictest limits are below the least flagged window, then less and less.
_MARGINS = (4.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.07)
# Under the lowest threshold by this: a 32-bit sum must not decide.
_BELOW = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimTerms:
    """The claim that limits must keep; see `hazgate.engine.exits.Claim`."""

    max_missed_share: float
    confidence: float
    thresholds: tuple[float, ...]

    @property
    def least_flagged(self) -> int:
        """Windows that must be flagged at a threshold, for a claim about it with none missed."""
        return math.ceil(math.log(1 - self.confidence) / math.log1p(-self.max_missed_share))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedWindows:
    """Windows with what the probes and the whole model say of them.

    Attributes:
        log_odds: of each probe, float64 [n, n_exits].
        unsafe: P(unsafe) of the whole model at temperature 1, float64 [n].
    """

    log_odds: Floats
    unsafe: Floats


def is_held_out(group: str) -> bool:
    """Tell if a group's windows prove the claim; if not, probes and limits are fitted on them."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big")
    return place < _HELD_OUT_SHARE * 2**32


def leaving(log_odds: Floats, limits: Floats) -> NDArray[np.bool_]:
    """Tell which windows leave at any exit, bool [n]."""
    return np.asarray((log_odds < limits).any(axis=1))


def limits_to_try(fitted: JudgedWindows, thresholds: Sequence[float]) -> list[Floats]:
    """List limits from strict to loose, each float64 [n_exits] that float32 holds exactly.

    The first are below the least log-odds of any window that is flagged at the lowest threshold.
    The others let one such window more leave at each exit. None reaches the log-odds of the lowest
    threshold, so who leaves is flagged at none.

    Args:
        fitted: windows whose probes were fitted on others; out-of-fold scores, for example.
        thresholds: those of the claim.

    Returns:
        No limits if no window is flagged.
    """
    flagged = np.sort(fitted.log_odds[fitted.unsafe >= min(thresholds)], axis=0)
    if not len(flagged):
        return []
    most = log_odds(min(thresholds)) - _BELOW
    tried = [flagged[0] - margin for margin in _MARGINS] + list(flagged)
    capped = [np.minimum(limits, most).astype(np.float32).astype(np.float64) for limits in tried]
    return [
        limits
        for i, limits in enumerate(capped)
        if i == 0 or not np.array_equal(limits, capped[i - 1])
    ]


def evidence_of(unsafe: Floats, left: NDArray[np.bool_], terms: ClaimTerms) -> tuple[Evidence, ...]:
    """Count what was missed at each threshold.

    Args:
        unsafe: P(unsafe) of the whole model, [n].
        left: windows that leave early, [n].
        terms: of the claim.
    """

    def at(threshold: float) -> Evidence:
        flagged = unsafe >= threshold
        n_flagged, n_missed = int(flagged.sum()), int((flagged & left).sum())
        return Evidence(
            threshold=threshold,
            n_flagged=n_flagged,
            n_missed=n_missed,
            upper_bound=upper_bound(n_missed, n_flagged, terms.confidence),
            n_texts=len(unsafe),
            share_left=float(left.mean()) if len(left) else 0.0,
        )

    return tuple(map(at, terms.thresholds))


def is_proven(unsafe: Floats, left: NDArray[np.bool_], terms: ClaimTerms) -> bool:
    """Tell if these windows prove the claim at each threshold.

    Args:
        unsafe: P(unsafe) of the whole model, [n].
        left: windows that leave early, [n].
        terms: of the claim.
    """
    return all(
        tail(int((left & (unsafe >= t)).sum()), int((unsafe >= t).sum()), terms.max_missed_share)
        <= 1 - terms.confidence
        for t in terms.thresholds
    )


def loosest_proven(
    held_out: JudgedWindows, tried: Sequence[Floats], terms: ClaimTerms
) -> Floats | None:
    """Return the last limits before the first that prove nothing; None if the first do not.

    Args:
        held_out: windows on which neither probes nor the order of limits were fitted.
        tried: from strict to loose, see `limits_to_try`.
        terms: of the claim.
    """
    found = None
    for limits in tried:
        if not is_proven(held_out.unsafe, leaving(held_out.log_odds, limits), terms):
            break
        found = limits
    return found


def missing_flagged(unsafe: Floats, terms: ClaimTerms) -> dict[float, int]:
    """Return how many flagged windows are missing for any claim, by the threshold."""
    counts = {t: int((unsafe >= t).sum()) for t in terms.thresholds}
    return {t: terms.least_flagged - n for t, n in counts.items() if n < terms.least_flagged}
