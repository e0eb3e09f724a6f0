"""Reliability of probabilities: equal-mass bins and the calibration error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate_evaluation.estimates import Estimate, Resampling, mirrored_estimate, ratio

N_BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Rows of similar confidence: their mean confidence, and the share that came true."""

    n_rows: int
    mean_confidence: float
    hit_share: float


def bins_of(confidence: NDArray[np.float64], n_bins: int = N_BINS) -> NDArray[np.int64]:
    """Assign each row a bin from 0, shape [n]; bins hold as equal numbers as ties allow.

    Edges are quantiles of the confidences. Equal confidences share a bin, so the order of
    the rows does not matter and a bin may be empty.
    """
    edges = np.quantile(confidence, np.arange(1, n_bins) / n_bins)
    return np.searchsorted(edges, confidence, side="right").astype(np.int64)


def reliability(
    confidence: NDArray[np.float64], hits: NDArray[np.bool_], n_bins: int = N_BINS
) -> tuple[ReliabilityBin, ...]:
    """List the points of a reliability diagram in ascending order, without empty bins.

    Args:
        confidence: a probability for each row, shape [n], n at least 1.
        hits: True where the predicted event came true, shape [n].
        n_bins: number of bins of equal mass.
    """
    index = bins_of(confidence, n_bins)
    return tuple(
        ReliabilityBin(
            n_rows=int(inside.sum()),
            mean_confidence=float(confidence[inside].mean()),
            hit_share=float(hits[inside].mean()),
        )
        for b in range(n_bins)
        if (inside := index == b).any()
    )


def expected_calibration_error(
    confidence: NDArray[np.float64], hits: NDArray[np.bool_], n_bins: int = N_BINS
) -> float:
    """Compute ECE: the mean over rows of |confidence - hit share| of their bin.

    Guo et al. 2017, with bins of equal mass instead of width (Nixon et al. 2019); arguments as in
    `reliability`.
    """
    bins = reliability(confidence, hits, n_bins)
    gaps = sum(b.n_rows * abs(b.mean_confidence - b.hit_share) for b in bins)
    return gaps / len(confidence)


def calibration_error(
    confidence: NDArray[np.float64], hits: NDArray[np.bool_], resampling: Resampling
) -> Estimate | None:
    """Estimate ECE with its interval; every resample uses the bins of all rows."""
    inside = bins_of(confidence)[:, None] == np.arange(N_BINS)
    columns = inside * (confidence - hits)[:, None]
    totals = resampling.totals(np.column_stack([columns, np.ones(len(confidence))]))
    samples = ratio(np.abs(totals[:, :-1]).sum(axis=1), totals[:, -1])
    return mirrored_estimate(expected_calibration_error(confidence, hits), samples)
