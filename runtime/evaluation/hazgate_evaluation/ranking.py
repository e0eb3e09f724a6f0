"""Areas under curves on many resamples at once; scikit-learn's definitions, ties included.

scikit-learn computes one resample at a time: on 5,000 texts, 1,000 resamples of both areas take
11.7 s of a core with its `sample_weight`, and 0.9 s here, where every resample shares one sort.
The whole data set's own areas are scikit-learn's; tests compare the resampled ones with it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate_evaluation.estimates import Resampling, ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class Areas:
    """Both areas of each resample, shape [n_resamples]; NaN if a class was not drawn."""

    average_precision: NDArray[np.float64]
    roc_auc: NDArray[np.float64]


def resampled_areas(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], resampling: Resampling
) -> Areas:
    """Compute average precision and the area under the ROC curve of each resample.

    Args:
        positive: True for rows of the positive class, shape [n].
        scores: higher means more positive, shape [n].
        resampling: of the same rows.
    """
    order = np.argsort(-scores, kind="stable")
    hits = positive[order].astype(np.float64)
    descending = scores[order]
    # Equal scores go together: a threshold cannot tell them apart.
    ends = np.flatnonzero(np.append(np.diff(descending) != 0, True))
    precision_areas, roc_areas = [], []
    for weights in resampling.row_weights():
        ordered = weights[:, order]
        true = np.cumsum(ordered * hits, axis=1)[:, ends]
        taken = np.cumsum(ordered, axis=1)[:, ends]
        n_positive = true[:, -1]
        n_negative = taken[:, -1] - n_positive
        steps = np.diff(true, axis=1, prepend=0)
        precision = np.nan_to_num(ratio(true, taken))
        precision_areas.append(ratio((steps * precision).sum(axis=1), n_positive))
        false_steps = np.diff(taken - true, axis=1, prepend=0)
        # Trapezoids: a tie counts half.
        below = ((true - steps / 2) * false_steps).sum(axis=1)
        roc_areas.append(ratio(below, n_positive * n_negative))
    return Areas(
        average_precision=np.concatenate(precision_areas), roc_auc=np.concatenate(roc_areas)
    )
