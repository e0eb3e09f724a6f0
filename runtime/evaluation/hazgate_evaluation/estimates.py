"""Figures with intervals: the bootstrap over groups, all resamples at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

N_RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 20260
# Weights held in memory at a time.
_CHUNK_WEIGHTS = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


def with_interval(figure: Estimate | None) -> str:
    """Return a figure and its interval as a table's cell; a dash for one that does not exist."""
    return "–" if figure is None else f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resampling:
    """Bootstrap resamples of whole groups, because rows of a group are not independent.

    The cluster bootstrap (Davison and Hinkley 1997, section 3.8): groups are drawn with
    replacement, as many as there are. The draws depend only on `seed` and the number of groups,
    so all figures of the same rows use the same resamples.

    `group` numbers the group of each row from 0, shape [n].
    """

    group: NDArray[np.int64]
    n_resamples: int = N_RESAMPLES
    seed: int = SEED

    @property
    def n_groups(self) -> int:
        """The number of groups."""
        return int(self.group.max()) + 1 if self.group.size else 0

    def group_weights(self) -> Iterator[NDArray[np.float64]]:
        """Yield how often each group was drawn, shape [some resamples, n_groups]."""
        random = np.random.default_rng(self.seed)
        n_groups = self.n_groups
        step = max(1, _CHUNK_WEIGHTS // max(1, len(self.group)))
        for start in range(0, self.n_resamples, step):
            n = min(step, self.n_resamples - start)
            drawn = random.integers(n_groups, size=(n, n_groups))
            flat = (drawn + n_groups * np.arange(n)[:, None]).ravel()
            counts = np.bincount(flat, minlength=n * n_groups)
            yield counts.reshape(n, n_groups).astype(np.float64)

    def row_weights(self) -> Iterator[NDArray[np.float64]]:
        """Yield how often each row was drawn, shape [some resamples, n]."""
        for weights in self.group_weights():
            yield weights[:, self.group]

    def totals(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum columns over the rows of each resample.

        Args:
            columns: shape [n, n_columns].

        Returns:
            Shape [n_resamples, n_columns].
        """
        by_group = np.column_stack(
            [
                np.bincount(self.group, weights=column, minlength=self.n_groups)
                for column in columns.T
            ]
        )
        return np.concatenate([weights @ by_group for weights in self.group_weights()])


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, giving NaN where the denominator is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator == 0, np.nan, numerator / denominator))


def estimate(value: float, samples: NDArray[np.float64]) -> Estimate | None:
    """Give a figure its percentile interval; None where the figure is not defined.

    Args:
        value: the figure on all rows; NaN where it is not defined.
        samples: the figure on each resample, shape [n_resamples]; NaN where it is not defined.
    """
    defined = samples[np.isfinite(samples)]
    if not np.isfinite(value) or not defined.size:
        return None
    low, high = np.quantile(defined, _tails())
    return Estimate(value=float(value), low=float(low), high=float(high))


def mirrored_estimate(value: float, samples: NDArray[np.float64]) -> Estimate | None:
    """Give a figure its basic interval, bounded to [0, 1]; otherwise as `estimate`.

    Use it for figures that resampling itself raises, such as a mean of absolute differences. Their
    percentile interval could lie above the figure; this one removes that bias (Davison and
    Hinkley 1997, section 5.2).
    """
    defined = samples[np.isfinite(samples)]
    if not np.isfinite(value) or not defined.size:
        return None
    low, high = 2 * value - np.quantile(defined, _tails())[::-1]
    return Estimate(
        value=float(value), low=float(np.clip(low, 0, 1)), high=float(np.clip(high, 0, 1))
    )


def share(hits: NDArray[np.bool_]) -> Estimate | None:
    """Estimate the share of hits with Wilson's interval (Wilson 1927); None without rows."""
    if not len(hits):
        return None
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(value=float(hits.mean()), low=float(interval.low), high=float(interval.high))


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
