"""Choice of each product's arithmetic: the cheapest whose measured error is small enough."""

from collections.abc import Sequence

import numpy as np

from hazgate_export.author.fused import Bits
from hazgate_export.author.linear import (
    LEVELS,
    Arithmetic,
    Float32,
    PerTokenInt8,
    StaticInt8,
    quantize_columns,
)
from hazgate_export.author.observe import Observations, SiteActivations
from hazgate_export.author.sites import Array, Sites


def smoothing_factors(observed: SiteActivations, weights: Sequence[Array]) -> Array:
    """Compute factors that divide each channel of an activation and multiply its weights.

    SmoothQuant (arXiv 2211.10438), equation 4 with strength 0.5, rounded to powers of two, which
    change no bit of a float32 result.

    Args:
        observed: the activation, [width].
        weights: the matrices [width, out] that it meets.
    """
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    tiny = np.finfo(np.float32).tiny
    ratio = np.sqrt(np.maximum(observed.largest, tiny) / np.maximum(rows, tiny))
    # Dead channels have nothing to balance.
    ratio = np.where((observed.largest > 0) & (rows > 0), ratio, 1.0)
    # Only differences between channels matter; a common factor would move other layers' scales.
    ratio = ratio / np.exp(np.mean(np.log(ratio)))
    return np.asarray(np.exp2(np.rint(np.log2(ratio))), dtype=np.float32)


def choose(
    observed: Observations,
    sites: Sites,
    *,
    static_error: float,
    int8_error: float,
) -> dict[str, Arithmetic]:
    """Choose the arithmetic of every site.

    Args:
        observed: the activations of every site.
        sites: the weights that they meet, [in, out] each.
        static_error: a site gets a static scale if its `row_error` is at most this.
        int8_error: else it gets per-token scales if their error is at most this; else float32.
    """
    chosen: dict[str, Arithmetic] = {}
    for name, weights in sites.items():
        rows = observed[name].rows
        static = StaticInt8(scale=float(observed[name].largest.max()) / LEVELS)
        per_token = PerTokenInt8()
        if row_error(rows, weights, static) <= static_error:
            chosen[name] = static
        elif row_error(rows, weights, per_token) <= int8_error:
            chosen[name] = per_token
        else:
            chosen[name] = Float32()
    return chosen


def row_error(rows: Array, weights: Sequence[Array], arithmetic: Arithmetic) -> float:
    """Measure the distance of a token's quantised product from the exact one, per its length.

    Returns:
        The 99th percentile over `rows` [n, in] of |error| / |product|, Euclidean.
    """
    if isinstance(arithmetic, Float32):
        return 0.0
    if isinstance(arithmetic, StaticInt8):
        scale = np.full((len(rows), 1), arithmetic.scale, dtype=np.float32)
    else:
        scale = np.abs(rows).max(axis=1, keepdims=True) / LEVELS
    rounded = np.clip(np.rint(rows / np.maximum(scale, 1e-12)), -LEVELS, LEVELS) * scale
    return _product_error(rows, rounded, weights)


def _product_error(rows: Array, rounded: Array, weights: Sequence[Array]) -> float:
    weight = np.concatenate(list(weights), axis=1)
    int8, weight_scale = quantize_columns(weight)
    exact = rows @ weight
    error = rounded @ (int8 * weight_scale) - exact
    length = np.maximum(np.linalg.norm(exact, axis=1), np.finfo(np.float32).tiny)
    return float(np.percentile(np.linalg.norm(error, axis=1) / length, 99))


def choose_bits(observed: Observations, sites: Sites, *, error: float) -> dict[str, Bits]:
    """Choose the sites of a fused graph that get activations of 16 bits, because 8 err by more.

    Args:
        observed: the activations of every site.
        sites: the weights that they meet, [in, out] each.
        error: see `row_error`; only for products without an activation function after them.
    """
    return {
        name: 16
        for name, weights in sites.items()
        if not name.endswith("mlp/in") and _ranged_error(observed[name].rows, weights) > error
    }


def _ranged_error(rows: Array, weights: Sequence[Array]) -> float:
    """Measure as `row_error`, with steps between a row's least and greatest value."""
    low = np.minimum(rows.min(axis=1, keepdims=True), 0)
    span = np.maximum(rows.max(axis=1, keepdims=True), 0) - low
    step = np.maximum(span / 255, 1e-12)
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(rows / step) + zero, 0, 255) - zero) * step
    return _product_error(rows, rounded, weights)
