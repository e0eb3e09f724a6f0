"""The operators of hazgate-kernels, and texts without their padding.

A graph of these computes tokens, not positions: padding is left out before the first layer. Every
activation is quantised with a scale of its own token, and the layers' results are pooled one
row at a time, so a text's logits are the same to the last bit whatever shares its run.
`runtime/kernels/README.md` says what each operator computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from hazgate_export.author.graph import HAZGATE, GraphWriter
from hazgate_export.author.linear import quantize_columns

Array = NDArray[np.float32]
Activation = Literal["none", "gelu", "gated_gelu"]
Bits = Literal[8, 16]

_ACTIVATIONS: dict[Activation, int] = {"none": 0, "gelu": 1, "gated_gelu": 2}


@dataclass(frozen=True, slots=True)
class Packed:
    """Texts of a batch, one after another.

    `ids` int64 [tokens]; `ends` int64 [batch], where each text ends; `places` int64 [tokens, 2],
    the row and position that each token came from. `starts` int64 [batch] is where each begins,
    None if the next begins where one ends and there is one text or more.
    """

    ids: ir.Value
    ends: ir.Value
    places: ir.Value
    starts: ir.Value | None = None


@dataclass(frozen=True, slots=True)
class FusedNorm:
    """A layer norm before a product; `balance` is multiplied into what is quantised alone."""

    weight: Array
    bias: Array | None
    epsilon: float
    balance: Array | None = None


def pack(g: GraphWriter, input_ids: ir.Value, attention_mask: ir.Value) -> Packed:
    """Leave padding out; the tokens of a row come first in it."""
    with g.scope("pack"):
        places = g.op("Transpose", g.op("NonZero", attention_mask), perm=[1, 0])
        lengths = g.op("ReduceSum", attention_mask, g.ints(1), keepdims=0)
        return Packed(
            ids=g.op("GatherND", input_ids, places),
            ends=g.op("CumSum", lengths, g.constant(np.array(0, dtype=np.int64), "axis")),
            places=places,
        )


def unpack(
    g: GraphWriter, x: ir.Value, packed: Packed, input_ids: ir.Value, width: int
) -> ir.Value:
    """Put each token's row back to its place: [batch, sequence, width] of [tokens, width].

    Padding has zeros.
    """
    with g.scope("unpack"):
        shape = g.op("Concat", g.op("Shape", input_ids), g.ints(width), axis=0)
        return g.op("ScatterND", g.op("ConstantOfShape", shape), packed.places, x)


def first_rows(g: GraphWriter, x: ir.Value, packed: Packed) -> ir.Value:
    """Take the first token of each text, [batch, hidden] of [tokens, hidden]."""
    if packed.starts is not None:
        return g.op("Gather", x, packed.starts, axis=0)
    with g.scope("first"):
        ends = g.op("Slice", packed.ends, g.ints(0), g.ints(-1), g.ints(0))
        return g.op("Gather", x, g.op("Concat", g.ints(0), ends, axis=0), axis=0)


def linear(
    g: GraphWriter,
    x: ir.Value,
    weights: Sequence[tuple[str, Array]],
    *,
    norm: FusedNorm | None = None,
    bias: Array | None = None,
    residual: ir.Value | None = None,
    activation: Activation = "none",
    bits: Bits = 8,
) -> ir.Value:
    """`activation(norm(x) @ weights + bias) + residual` in int8 with a scale for each token.

    Args:
        g: receives the node.
        x: float32 [tokens, in].
        weights: name and float32 [in, out] of up to three matrices, side by side; with
            "gated_gelu" two of one shape, GELU(first) x second.
        norm: taken of `x` first.
        bias: float32 [sum of out].
        residual: float32, of the result's shape.
        activation: of the products.
        bits: of `x`; 16 are two products, and go with no activation.

    Returns:
        float32 [tokens, sum of out], or half as wide.
    """
    return _linear(g, x, weights, norm, bias, residual, activation, bits, n_outputs=1)[0]


def norm_linear(
    g: GraphWriter,
    x: ir.Value,
    weights: Sequence[tuple[str, Array]],
    *,
    norm: FusedNorm,
    bias: Array | None = None,
    activation: Activation = "none",
    bits: Bits = 8,
) -> tuple[ir.Value, ir.Value]:
    """As `linear`, and what the norm gave, float32 [tokens, in]."""
    result, normed = _linear(g, x, weights, norm, bias, None, activation, bits, n_outputs=2)
    return result, normed


def _linear(
    g: GraphWriter,
    x: ir.Value,
    weights: Sequence[tuple[str, Array]],
    norm: FusedNorm | None,
    bias: Array | None,
    residual: ir.Value | None,
    activation: Activation,
    bits: Bits,
    *,
    n_outputs: int,
) -> Sequence[ir.Value]:
    def optional(array: Array | None, name: str) -> ir.Value | None:
        return None if array is None else g.constant(array, name)

    matrices: list[ir.Value] = []
    for name, weight in weights:
        int8, scale = quantize_columns(weight)
        matrices.append(g.constant(int8, f"{name}.weight_int8"))
        matrices.append(g.constant(scale, f"{name}.weight_scale"))
    return g.ops(
        "Linear",
        x,
        residual,
        optional(norm.weight if norm else None, "norm.weight"),
        optional(norm.bias if norm else None, "norm.bias"),
        optional(norm.balance if norm else None, "balance"),
        optional(bias, "bias"),
        *matrices,
        n_outputs=n_outputs,
        domain=HAZGATE,
        activation=_ACTIVATIONS[activation],
        activation_bits=bits,
        epsilon=norm.epsilon if norm else 0.0,
    )


def attention(
    g: GraphWriter,
    qkv: ir.Value,
    packed: Packed,
    *,
    n_heads: int,
    window: int | None = None,
    rotary: tuple[ir.Value, ir.Value] | None = None,
) -> ir.Value:
    """Every token attends to its text, or to `window` tokens to each side of it.

    Args:
        g: receives the node.
        qkv: queries, keys and values side by side, float32 [tokens, 3 x hidden]; the score's
            scale is in the queries already.
        packed: where texts end.
        n_heads: how the width divides.
        window: tokens seen to each side; None for all.
        rotary: cos and sin [positions, width / 2], applied to queries and keys.

    Returns:
        float32 [tokens, hidden].
    """
    return g.op(
        "Attention",
        qkv,
        packed.ends,
        *(rotary or ()),
        domain=HAZGATE,
        num_heads=n_heads,
        window=-1 if window is None else window,
        scale=1.0,
    )


def mean(g: GraphWriter, x: ir.Value, packed: Packed, norm: FusedNorm) -> ir.Value:
    """Average each text's tokens, each after `norm`, which has no bias: [batch, hidden]."""
    weight = g.constant(norm.weight, "norm.weight")
    return g.op("Mean", x, packed.ends, weight, domain=HAZGATE, epsilon=norm.epsilon)


def dense(
    g: GraphWriter,
    x: ir.Value,
    weight: tuple[str, Array],
    bias: Array | None = None,
    activation: Literal["none", "gelu"] = "none",
) -> ir.Value:
    """`activation(x @ weight + bias)` in float32, a row at a time: [rows, out] of [rows, in]."""
    name, matrix = weight
    return g.op(
        "Dense",
        x,
        g.constant(matrix, f"{name}.weight"),
        None if bias is None else g.constant(bias, f"{name}.bias"),
        domain=HAZGATE,
        activation=_ACTIVATIONS[activation],
    )
