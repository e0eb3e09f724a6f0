"""Matrix products of one activation, in their chosen arithmetic.

This is the one place that knows how a linear layer is computed; a fused operator for it would
replace the body of `project`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from hazgate_export.author.graph import MICROSOFT, GraphWriter

# Activations are u8 around it: the type that ONNX Runtime's x86 kernels multiply.
_ZERO_POINT = np.uint8(128)
# Steps to each side of zero.
LEVELS = 127
# An all-zero row has no scale of its own.
_MIN_SCALE = 1e-12


@dataclass(frozen=True, slots=True)
class Float32:
    """No rounding but float32's."""


@dataclass(frozen=True, slots=True)
class StaticInt8:
    """int8 x int8 with one scale for all activations, known beforehand: the cheapest.

    Values beyond `scale` x 127 saturate.
    """

    scale: float


@dataclass(frozen=True, slots=True)
class PerTokenInt8:
    """int8 x int8 with a scale for each token, taken from that token: no value saturates."""


Arithmetic = Float32 | StaticInt8 | PerTokenInt8


def project(
    g: GraphWriter,
    x: ir.Value,
    weights: Sequence[tuple[str, NDArray[np.float32]]],
    arithmetic: Arithmetic,
) -> list[ir.Value]:
    """Multiply `x @ w` for each named `w`; `x` is quantised once for all of them.

    Args:
        g: receives the nodes.
        x: float32 [batch, sequence, in].
        weights: name and float32 [in, out] of each.
        arithmetic: how to multiply. A token's result depends on that token alone in all of them.

    Returns:
        float32 [batch, sequence, out] each.
    """
    if isinstance(arithmetic, Float32):
        return [g.op("MatMul", x, g.constant(w, f"{name}.weight")) for name, w in weights]
    zero = g.constant(np.array(_ZERO_POINT), "zero_point")
    if isinstance(arithmetic, StaticInt8):
        scale = g.constant(np.array(arithmetic.scale, dtype=np.float32), "scale")
        quantised = g.op("QuantizeLinear", x, scale, zero)
    else:
        # Rows are brought to [-1, 1] and share one scale: their own goes into the product.
        scale = _largest(g, x)
        step = g.constant(np.array(1 / LEVELS, dtype=np.float32), "scale")
        quantised = g.op("QuantizeLinear", g.op("Div", x, scale), step, zero)
    products = []
    for name, weight in weights:
        int8, weight_scale = quantize_columns(weight)
        if isinstance(arithmetic, PerTokenInt8):
            weight_scale = weight_scale / np.float32(LEVELS)
        products.append(
            g.op(
                "MatMulIntegerToFloat",
                quantised,
                g.constant(int8, f"{name}.weight_int8"),
                scale,
                g.constant(weight_scale, f"{name}.weight_scale"),
                zero,
                domain=MICROSOFT,
            )
        )
    return products


def quantize_columns(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise to symmetric int8 with one scale per output, exact in every kernel of ONNX Runtime.

    x86 processors without VNNI add the u8 x s8 products of rows 2i and 2i + 1 in 16 bits that
    saturate (vpmaddubsw): at 255 x 129, while 255 x 128 still fits. So the scale lets no such two
    weights come to more than 128. That costs a fraction of a bit; ONNX Runtime's remedy, u8 x u8
    kernels by `session.x64quantprecision`, takes more time everywhere and copies the weights.

    Returns:
        int8 [in, out] and float32 [out]; their product is `weight` to half a step.
    """
    scale = np.maximum(_largest_pair(weight) / LEVELS, np.float32(_MIN_SCALE))
    int8 = np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8)
    return int8, scale.astype(np.float32)


def _largest_pair(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Find the greatest magnitude of each column, of its elements and sums of neighbours, [out]."""
    even, odd = weight[0::2], np.zeros_like(weight[0::2])
    odd[: len(weight) // 2] = weight[1::2]
    parts = (even, odd, even + odd)
    return np.asarray(np.max([np.abs(part).max(axis=0) for part in parts], axis=0))


def _largest(g: GraphWriter, x: ir.Value) -> ir.Value:
    """Each token's largest magnitude, float32 [batch, sequence, 1]."""
    largest = g.op("ReduceMax", g.op("Abs", x), g.ints(-1), keepdims=1)
    return g.op("Max", largest, g.constant(np.array(_MIN_SCALE, dtype=np.float32), "min_scale"))
