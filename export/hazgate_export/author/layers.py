"""Parts of every encoder classifier: inputs, table, products, norm, classifier, outputs."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from hazgate_export.author.graph import MICROSOFT, GraphWriter
from hazgate_export.author.linear import LEVELS, Arithmetic, project
from hazgate_export.author.sites import Array
from hazgate_export.errors import ParityMissed
from hazgate_export.graphs.portable import INPUTS, OUTPUT

TablePrecision = Literal["float32", "int8"]

# Channels that share a scale: 6 % more bytes than the table itself, and half the error of 256.
_TABLE_BLOCK = 64
# Rows quantised at a time; a large table is never copied whole.
_TABLE_ROWS = 8192
_MAX_TABLE_ERROR = 0.02


def token_inputs() -> tuple[ir.Value, ir.Value]:
    """Make the graph's inputs, int64 [batch, sequence]."""
    ids, mask = (
        ir.Value(
            name=name,
            type=ir.TensorType(ir.DataType.INT64),
            shape=ir.Shape(["batch", "sequence"]),
        )
        for name in INPUTS
    )
    return ids, mask


def embed(g: GraphWriter, table: Array, ids: ir.Value, precision: TablePrecision) -> ir.Value:
    """Look up the rows of `table` [vocabulary, hidden] for `ids` of any shape.

    An int8 table is dequantised row by row as it is read: the file is mapped, and only the text's
    rows are read from it.
    """
    if precision == "float32":
        return g.op("Gather", g.constant(table, "embeddings"), ids)
    int8, scale = quantize_table(table)
    return g.op(
        "GatherBlockQuantized",
        g.constant(int8, "embeddings_int8"),
        ids,
        g.constant(scale, "embeddings_scale"),
        domain=MICROSOFT,
        bits=8,
        block_size=_TABLE_BLOCK,
        gather_axis=0,
        quantize_axis=1,
    )


def quantize_table(table: Array) -> tuple[NDArray[np.uint8], Array]:
    """Quantise to symmetric 8 bits around 128, one scale per row and block of channels.

    Returns:
        uint8 [vocabulary, hidden] and float32 [vocabulary, blocks].

    Raises:
        ParityMissed: a row moved by too large a share of its own length.
    """
    vocabulary, hidden = table.shape
    uint8 = np.empty(table.shape, dtype=np.uint8)
    scales = np.empty((vocabulary, -(-hidden // _TABLE_BLOCK)), dtype=np.float32)
    worst = 0.0
    for start in range(0, vocabulary, _TABLE_ROWS):
        rows = table[start : start + _TABLE_ROWS]
        for block in range(scales.shape[1]):
            columns = slice(block * _TABLE_BLOCK, (block + 1) * _TABLE_BLOCK)
            part = rows[:, columns]
            scale = np.maximum(np.abs(part).max(axis=1) / LEVELS, np.float32(1e-12))
            steps = np.clip(np.rint(part / scale[:, None]), -LEVELS, LEVELS)
            uint8[start : start + len(rows), columns] = steps + 128
            scales[start : start + len(rows), block] = scale
        back = uint8[start : start + len(rows)].astype(np.float32) - 128
        back *= np.repeat(scales[start : start + len(rows)], _TABLE_BLOCK, axis=1)[:, :hidden]
        length = np.linalg.norm(rows, axis=1)
        moved = np.linalg.norm(back - rows, axis=1)
        worst = max(worst, float((moved / np.maximum(length, 1e-6)).max()))
    if not worst <= _MAX_TABLE_ERROR:
        raise ParityMissed(
            f"embedding table: int8 moves a row by {worst:.2%} of its length, at most "
            f"{_MAX_TABLE_ERROR:.0%} is allowed; take a variant in fp32"
        )
    return uint8, scales


def layer_norm(
    g: GraphWriter, x: ir.Value, weight: Array, bias: Array | None, eps: float
) -> ir.Value:
    """Normalise over the last axis."""
    # Without a bias, one of zeros: ONNX Runtime 1.32's SkipLayerNormFusion reads the third input
    # without checking that it is there, and crashes the process.
    shift = g.constant(np.zeros_like(weight) if bias is None else bias, "norm.bias")
    return g.op(
        "LayerNormalization", x, g.constant(weight, "norm.weight"), shift, axis=-1, epsilon=eps
    )


def classify_tokens(g: GraphWriter, x: ir.Value, weight: Array, bias: Array) -> ir.Value:
    """Compute the logits of each token, of [batch, sequence, hidden]."""
    product = g.op("MatMul", x, g.constant(weight, "classifier.weight"))
    return g.op("Add", product, g.constant(bias, "classifier.bias"))


def classify(g: GraphWriter, x: ir.Value, weight: Array, bias: Array) -> ir.Value:
    """Compute the logits of pooled rows."""
    return g.op(
        "Gemm",
        x,
        g.constant(weight, "classifier.weight"),
        g.constant(bias, "classifier.bias"),
    )


class Products:
    """Products of a graph's sites, each in the arithmetic chosen for it.

    Attributes:
        activations: the activation of every site that was written so far.
    """

    def __init__(self, g: GraphWriter, arithmetic: Mapping[str, Arithmetic]) -> None:
        self._g = g
        self._arithmetic = arithmetic
        self.activations: dict[str, ir.Value] = {}

    def write(self, site: str, x: ir.Value, weights: Sequence[tuple[str, Array]]) -> list[ir.Value]:
        """Multiply `x` by each of the named weights."""
        self.activations[site] = x
        return project(self._g, x, weights, self._arithmetic[site])


def first_token(g: GraphWriter, x: ir.Value) -> ir.Value:
    """Pool [batch, sequence, hidden] by taking the first token."""
    return g.op("Gather", x, g.constant(np.array(0, dtype=np.int64), "first"), axis=1)


def logits_output(logits: ir.Value, n_labels: int, *, per_token: bool = False) -> ir.Value:
    """Declare `logits` as the graph's output of that name, float32.

    Its shape is [batch, n_labels] or, `per_token`, [batch, sequence, n_labels].
    """
    logits.name = OUTPUT
    logits.type = ir.TensorType(ir.DataType.FLOAT)
    axes = ["batch", "sequence"] if per_token else ["batch"]
    logits.shape = ir.Shape([*axes, n_labels])
    return logits


def classifier_outputs(
    logits: ir.Value, n_labels: int, products: Products, *, expose: bool, per_token: bool = False
) -> list[ir.Value]:
    """Declare the outputs: the logits and, if `expose`, each site's activation by its name."""
    outputs = [logits_output(logits, n_labels, per_token=per_token)]
    if expose:
        outputs.extend(_expose_as(name, value) for name, value in products.activations.items())
    return outputs


def _expose_as(name: str, value: ir.Value) -> ir.Value:
    """Declare an activation [batch, sequence, width] as an output."""
    value.name = name
    value.type = ir.TensorType(ir.DataType.FLOAT)
    value.shape = ir.Shape(["batch", "sequence", None])
    return value
