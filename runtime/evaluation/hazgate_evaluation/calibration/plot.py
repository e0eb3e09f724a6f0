"""Reliability diagrams before and after calibration, both levels in one figure."""

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hazgate_evaluation.plots import STYLES, finish_reliability, reliability_line, style
from hazgate_evaluation.reliability import expected_calibration_error, reliability


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """One level's probabilities on the rows that were not fitted on, shape [n] each.

    `hits` is True where the prediction came true; the others are probabilities, `isotonic` those
    of isotonic regression, for comparison.
    """

    hits: NDArray[np.bool_]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    isotonic: NDArray[np.float64] | None


def draw_reliability(level1: Curves, level2: Curves | None) -> bytes:
    """Draw a PNG with one panel per level."""
    with style():
        figure = Figure(figsize=(9.6, 4.4), dpi=150, layout="constrained")
        n_panels = 2 if level2 else 1
        left = figure.add_subplot(1, n_panels, 1)
        _panel(left, level1)
        finish_reliability(left, "Level 1: P(unsafe)", "share unsafe")
        if level2:
            right = figure.add_subplot(1, n_panels, n_panels)
            _panel(right, level2)
            finish_reliability(right, "Level 2: highest probability", "share right")
        stream = io.BytesIO()
        # Without the version, the same figures give the same bytes.
        figure.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()


def _panel(axes: Axes, curves: Curves) -> None:
    lines = (
        ("before", curves.before),
        ("after temperature", curves.after),
        ("isotonic, for comparison", curves.isotonic),
    )
    for (name, confidence), (colour, marker) in zip(lines, STYLES, strict=False):
        if confidence is not None:
            error = expected_calibration_error(confidence, curves.hits)
            bins = reliability(confidence, curves.hits)
            reliability_line(axes, bins, f"{name}, ECE {error:.3f}", colour, marker)
