"""Early exits: texts leave the batch of a fused graph after a layer.

A linear probe on a text's pooled tokens sees after a few layers that most texts are safe. The idea
is DeeBERT's (arXiv 2004.12993) and CALM's (arXiv 2207.07061). The probes and their limits are
inputs of the graph, so they can be fitted again without another graph.

A row of the batch stays a row to the end. When it leaves, its tokens are taken out of the layers'
input and its length becomes 0; the kernels skip a text of no tokens. A text that stays is computed
from the same tokens by the same operators as in the plain graph, to the last bit.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hazgate_export.author.fused import FusedNorm, Packed, mean
from hazgate_export.author.graph import HAZGATE, GraphWriter
from hazgate_export.graphs.portable import OUTPUT

MAY_LEAVE, PROBES, LIMITS, POOLED = "may_leave", "probes", "limits", "pooled"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitLayers:
    """Places where texts may leave, and the label that no text with it should.

    Attributes:
        after_layers: numbers of layers, counted from 1, rising; none is the last.
        positive: column of the positive label's logit.
    """

    after_layers: tuple[int, ...]
    positive: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Probe:
    """One exit: `weights` [hidden, n_labels + 1], `bias` [1, n_labels + 1], `limit` [1]."""

    weights: ir.Value
    bias: ir.Value
    limit: ir.Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving:
    """State of the rows between layers.

    Attributes:
        exits: where texts may leave.
        inputs: the graph's inputs beside ids and mask.
        probes: one for each exit, in order.
        whole: bool [batch, 1], rows that are read whole whatever a probe says.
        rows: int64 [tokens], the row of each token that is still in.
        lengths: int64 [batch], tokens of each row that are still in.
        unseen: bool [batch, 1], rows that no probe would have let go so far.
        result: float32 [batch, n_labels + 1], the row at the first exit that would let it go.
        pooled: float32 [batch, hidden] at each exit so far.
    """

    exits: ExitLayers
    inputs: tuple[ir.Value, ...]
    probes: tuple[_Probe, ...]
    whole: ir.Value
    rows: ir.Value
    lengths: ir.Value
    unseen: ir.Value
    result: ir.Value
    pooled: tuple[ir.Value, ...] = ()

    def is_after(self, layer: int) -> bool:
        """Tell if texts may leave after the layer with this number, counted from 1."""
        return layer in self.exits.after_layers


def begin(
    g: GraphWriter,
    exits: ExitLayers,
    packed: Packed,
    attention_mask: ir.Value,
    *,
    hidden: int,
    n_labels: int,
) -> Leaving:
    """Add the inputs of exits, and describe the rows before the first layer.

    The inputs are `may_leave` bool [batch], `probes` float32 [n_exits, hidden + 1] with the bias
    last, and `limits` float32 [n_exits].
    """
    n = len(exits.after_layers)
    may_leave = _declare(ir.Value(), MAY_LEAVE, ir.DataType.BOOL, ["batch"])
    probes = _declare(ir.Value(), PROBES, ir.DataType.FLOAT, [n, hidden + 1])
    limits = _declare(ir.Value(), LIMITS, ir.DataType.FLOAT, [n])
    with g.scope("exits"):
        row = g.op("Gather", packed.places, g.constant(np.array(0, dtype=np.int64), "row"), axis=1)
        return Leaving(
            exits=exits,
            inputs=(may_leave, probes, limits),
            probes=_probes(g, exits, probes, limits, hidden=hidden, n_labels=n_labels),
            whole=g.op("Unsqueeze", g.op("Not", may_leave), g.ints(1)),
            rows=row,
            lengths=g.op("ReduceSum", attention_mask, g.ints(1), keepdims=0),
            unseen=g.constant(np.ones((1, 1), dtype=np.bool_), "unseen"),
            result=g.constant(np.zeros((1, n_labels + 1), dtype=np.float32), "result"),
        )


def leave(
    g: GraphWriter, leaving: Leaving, x: ir.Value, packed: Packed, norm: FusedNorm
) -> tuple[ir.Value, Packed, Leaving]:
    """Take the rows out that a probe lets go.

    Args:
        g: receives the nodes.
        leaving: the rows' state.
        x: the residual stream after the layer, float32 [tokens, hidden].
        packed: where texts end in it.
        norm: taken of `x` before it is averaged; a bias would only move the probe's, so none is
            added.

    Returns:
        What is left of `x` and of `packed`, and the rows' state.
    """
    probe = leaving.probes[len(leaving.pooled)]
    pooled = mean(g, x, packed, FusedNorm(norm.weight, None, norm.epsilon))
    # One row is the positive label's log-odds, zeros, and the layer's number: what a row that
    # leaves answers.
    answer = g.op("Dense", pooled, probe.weights, probe.bias, domain=HAZGATE, activation=0)
    log_odds = g.op("Gather", answer, g.ints(leaving.exits.positive), axis=1)
    # NaN is not less: a row that cannot be judged is read whole.
    would = g.op("Less", log_odds, probe.limit)
    first = g.op("And", would, leaving.unseen)
    unseen = g.op("And", g.op("Not", would), leaving.unseen)
    inside = g.op("Reshape", g.op("Or", leaving.whole, unseen), g.ints(-1))
    kept = g.op("Gather", inside, leaving.rows)
    zero = g.constant(np.array(0, dtype=np.int64), "zero")
    lengths = g.op("Where", inside, leaving.lengths, zero)
    left = dataclasses.replace(
        leaving,
        rows=g.op("Compress", leaving.rows, kept, axis=0),
        lengths=lengths,
        unseen=unseen,
        result=g.op("Where", first, answer, leaving.result),
        pooled=(*leaving.pooled, pooled),
    )
    stay = dataclasses.replace(packed, ends=g.op("CumSum", lengths, zero))
    return g.op("Compress", x, kept, axis=0), stay, left


def remaining(g: GraphWriter, leaving: Leaving, packed: Packed) -> Packed:
    """Keep the rows that are read whole, so that the head computes no others."""
    with g.scope("remaining"):
        is_left = _is_left(g, leaving)
        ends = g.op("Compress", packed.ends, is_left, axis=0)
        lengths = g.op("Compress", leaving.lengths, is_left, axis=0)
        return dataclasses.replace(packed, ends=ends, starts=g.op("Sub", ends, lengths))


def outputs(
    g: GraphWriter,
    leaving: Leaving,
    logits: ir.Value,
    *,
    hidden: int,
    n_labels: int,
) -> list[ir.Value]:
    """Put the rows together, and declare the outputs.

    `logits` float32 [batch, n_labels + 1] has the exit in its last column: 0 for a row that no
    probe would have let go, k for one that left after layer k, -k for one that was read whole and
    would have left there. `pooled` float32 [batch, n_exits, hidden] has the pooled tokens after
    each exit's layer, zeros behind the exit where a row left.

    Args:
        g: receives the nodes.
        leaving: the rows' state behind the last layer.
        logits: of the rows that are left, float32 [n, n_labels].
        hidden: the width of the layers.
        n_labels: the level's labels.
    """
    n = len(leaving.exits.after_layers)
    with g.scope("exits"):
        left = g.op("Transpose", g.op("NonZero", _is_left(g, leaving)), perm=[1, 0])
        exit_column = g.op("Gather", leaving.result, g.ints(n_labels), axis=1)
        would = g.op("GatherND", exit_column, left)
        # Not Neg, which would make -0 of 0.
        zero = g.constant(np.array(0, dtype=np.float32), "zero")
        whole = g.op("Concat", logits, g.op("Sub", zero, would), axis=1)
        rows = g.op("ScatterND", leaving.result, left, whole)
        pooled = g.op("Reshape", g.op("Concat", *leaving.pooled, axis=1), g.ints(-1, n, hidden))
    return [
        _declare(rows, OUTPUT, ir.DataType.FLOAT, ["batch", n_labels + 1]),
        _declare(pooled, POOLED, ir.DataType.FLOAT, ["batch", n, hidden]),
    ]


def _probes(
    g: GraphWriter,
    exits: ExitLayers,
    probes: ir.Value,
    limits: ir.Value,
    *,
    hidden: int,
    n_labels: int,
) -> tuple[_Probe, ...]:
    """Spread each probe over the columns of an answer.

    The positive label's column is the probe. The others' weights are 0, and the last one's bias is
    the layer's number.
    """
    n = len(exits.after_layers)
    is_positive = np.zeros(n_labels + 1, dtype=np.float32)
    is_positive[exits.positive] = 1
    numbers = np.zeros((n, n_labels + 1), dtype=np.float32)
    numbers[:, n_labels] = exits.after_layers
    column = g.constant(is_positive, "positive")
    weights, bias = g.ops("Split", probes, g.ints(hidden, 1), n_outputs=2, axis=1)
    spread = g.op("Mul", g.op("Unsqueeze", weights, g.ints(2)), column)
    matrices = _split(g, g.op("Reshape", spread, g.ints(n * hidden, n_labels + 1)), n, hidden)
    added = g.op("Add", g.op("Mul", bias, column), g.constant(numbers, "numbers"))
    biases = _split(g, added, n, 1)
    return tuple(
        _Probe(weights=matrix, bias=one, limit=limit)
        for matrix, one, limit in zip(matrices, biases, _split(g, limits, n, 1), strict=True)
    )


def _is_left(g: GraphWriter, leaving: Leaving) -> ir.Value:
    """Tell which rows still have tokens, bool [batch]."""
    return g.op("Greater", leaving.lengths, g.constant(np.array(0, dtype=np.int64), "zero"))


def _split(g: GraphWriter, x: ir.Value, n: int, rows: int) -> Sequence[ir.Value]:
    return g.ops("Split", x, g.ints(*[rows] * n), n_outputs=n, axis=0)


def _declare(
    value: ir.Value, name: str, dtype: ir.DataType, shape: Sequence[str | int]
) -> ir.Value:
    value.name = name
    value.type = ir.TensorType(dtype)
    value.shape = ir.Shape(shape)
    return value
