"""The exits of an open level in service: who may leave, who is read whole to see, and when to stop.

A share of the windows that may leave is read whole all the same. If they prove that more is missed
than the claim allows, nothing leaves any more until the bundle is opened again.
"""

import logging
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.exits import Exits
from hazgate.judging.missed import MissedCounts

_LOG = logging.getLogger("hazgate.exits")

DEFAULT_AUDIT_SHARE = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitFacts:
    """The state of a level's exits.

    Attributes:
        counts: of the windows read whole to see.
        lower_bound: on the share missed; holds at all times at once.
        upper_bound: on the share missed, for one look.
        on: True while windows may leave.
    """

    counts: MissedCounts
    lower_bound: float
    upper_bound: float
    on: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """The windows of one run: which may leave, and which might and are read whole to see.

    All have the shape [n_windows]. `flags_from` has the log-odds from which each is flagged, NaN
    for a window that must be read whole.
    """

    may_leave: NDArray[np.bool_]
    audited: NDArray[np.bool_]
    flags_from: NDArray[np.float64]


@dataclass(kw_only=True, slots=True, eq=False)
class OpenExits:
    """The exits of an open level. Thread-safe.

    Attributes:
        exits: probes, limits and their claim.
        source: name of the probe file.
        positive: index of the label that flags a text.
        audit_share: share of the windows that may leave which are read whole to see, in [0, 1].
        digest: SHA-256 of the probes, the limits and the claim.
    """

    exits: Exits
    source: str
    positive: int
    audit_share: float = DEFAULT_AUDIT_SHARE
    # Not a function of a text: whoever knew it could choose what is seen.
    _random: random.Random = field(default_factory=random.SystemRandom)
    digest: str = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _counts: MissedCounts = field(default_factory=MissedCounts, init=False)
    _reported: MissedCounts = field(default_factory=MissedCounts, init=False)
    _on: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Take the digest once."""
        self.digest = self.exits.sha256

    @property
    def on(self) -> bool:
        """True while windows may leave."""
        return self._on

    @property
    def facts(self) -> ExitFacts:
        """The state until now."""
        with self._lock:
            counts, on = self._counts, self._on
        claim = self.exits.claim
        return ExitFacts(
            counts=counts,
            lower_bound=counts.lower_bound(claim.confidence, claim.max_missed_share),
            upper_bound=counts.upper_bound(claim.confidence),
            on=on,
        )

    def take_counts(self) -> MissedCounts:
        """Return what was counted since this was last asked."""
        with self._lock:
            new, self._reported = self._counts.minus(self._reported), self._counts
        return new

    def draw(self, flags_from: Sequence[float | None]) -> Draw:
        """Draw which windows are read whole to see.

        Args:
            flags_from: of each window the log-odds from which it is flagged, None if it must be
                read whole; see hazgate.judging.early.
        """
        from_ = np.array([np.nan if each is None else each for each in flags_from])
        might = ~np.isnan(from_) if self._on else np.zeros(len(from_), dtype=np.bool_)
        drawn = np.array([self._random.random() < self.audit_share for _ in flags_from], dtype=bool)
        return Draw(may_leave=might & ~drawn, audited=might & drawn, flags_from=from_)

    def count(self, draw: Draw, rows: NDArray[np.float32]) -> None:
        """Count what the windows that were read whole to see say, and stop if it is too much.

        Args:
            draw: of these windows.
            rows: two logits and the exit of each window, shape [n_windows, 3].
        """
        audited = rows[draw.audited]
        if not len(audited):
            return
        log_odds = audited[:, self.positive].astype(np.float64) - audited[:, 1 - self.positive]
        flagged = log_odds >= draw.flags_from[draw.audited]
        missed = flagged & (audited[:, -1] < 0)
        new = MissedCounts(
            n_audited=len(audited), n_flagged=int(flagged.sum()), n_missed=int(missed.sum())
        )
        claim = self.exits.claim
        with self._lock:
            counts = self._counts = self._counts.plus(new)
            stops = (
                self._on
                and new.n_missed > 0
                and counts.exceeds(claim.max_missed_share, claim.confidence)
            )
            self._on = self._on and not stops
        if stops:
            _LOG.error(
                "early exits are off until the bundle is opened again: of %d flagged windows that "
                "were read whole to see, %d would have left, and %.3g is the most that may be "
                "missed. Fit the probes on this traffic with hazgate calibrate --exits",
                counts.n_flagged,
                counts.n_missed,
                claim.max_missed_share,
            )
