"""The share of flagged windows that early exits miss, estimated from windows read whole. Pure.

Of the windows that may leave, a random sample is read whole whatever they say. Among those of the
sample that the whole model flags, the share that would have left is an unbiased estimate of the
share missed, for each window is in the sample with the same probability, whether it would have left
or not. Windows outside the sample count for nothing, also those that were read whole.

The lower bound holds at all times at once, however often it is looked at: a confidence sequence
from a mixture of likelihoods (Robbins 1970; Howard et al., arXiv 1810.08240). A bound that holds
for one look only would be passed by chance sooner or later.
"""

import math
from dataclasses import dataclass

from hazgate.judging.binomial import upper_bound

# A share is found to about this.
_STEPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class MissedCounts:
    """Counts of the sample.

    Attributes:
        n_audited: windows that might leave and were read whole to see.
        n_flagged: those of them that the whole model flags.
        n_missed: those of them that would have left.
    """

    n_audited: int = 0
    n_flagged: int = 0
    n_missed: int = 0

    def plus(self, other: "MissedCounts") -> "MissedCounts":
        """Return the counts of both together."""
        return MissedCounts(
            n_audited=self.n_audited + other.n_audited,
            n_flagged=self.n_flagged + other.n_flagged,
            n_missed=self.n_missed + other.n_missed,
        )

    def minus(self, earlier: "MissedCounts") -> "MissedCounts":
        """Return the counts since an earlier look."""
        return MissedCounts(
            n_audited=self.n_audited - earlier.n_audited,
            n_flagged=self.n_flagged - earlier.n_flagged,
            n_missed=self.n_missed - earlier.n_missed,
        )

    @property
    def share(self) -> float | None:
        """The estimate of the share missed; None before anything was flagged."""
        return self.n_missed / self.n_flagged if self.n_flagged else None

    def upper_bound(self, confidence: float) -> float:
        """Return the exact upper bound on the share missed, for one look; 1 without counts."""
        return upper_bound(self.n_missed, self.n_flagged, confidence)

    def lower_bound(self, confidence: float, around: float) -> float:
        """Return a lower bound on the share missed that holds at all times at once.

        Args:
            confidence: the probability with which the bound never exceeds the true share.
            around: the share near which the bound is to be tightest.
        """
        low, high = 0.0, self.share or 0.0
        for _ in range(_STEPS if high else 0):
            middle = (low + high) / 2
            if self._speaks_against(middle, confidence, around):
                low = middle
            else:
                high = middle
        return low

    def exceeds(self, share: float, confidence: float) -> bool:
        """Return whether the counts prove that more than `share` is missed.

        If at most `share` is missed, this is ever True with probability 1 - `confidence` at most.
        """
        found = self.share
        return (
            found is not None
            and found > share
            and self._speaks_against(share, confidence, around=share)
        )

    def _speaks_against(self, share: float, confidence: float, around: float) -> bool:
        """Return whether the mixture is 1 / (1 - confidence) times as likely as `share`.

        Under the true share this ratio is a martingale that starts at 1, so that it ever reaches
        so much with probability 1 - confidence at most (Ville). The mixture is the beta
        distribution of the mean `around` and the weight of 1 / `around` observations.
        """
        if share <= 0:
            return self.n_missed > 0
        a, b = 1.0, 1.0 / around - 1.0
        missed, kept = self.n_missed, self.n_flagged - self.n_missed
        mixture = _log_beta(a + missed, b + kept) - _log_beta(a, b)
        alone = missed * math.log(share) + kept * math.log1p(-share)
        return mixture - alone >= -math.log(1 - confidence)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
