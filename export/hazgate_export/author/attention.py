"""Bidirectional attention in ONNX Runtime's fused kernel, over everything or over a window.

The kernel is fastest without a mask, so the graph looks at the batch and passes none where there is
no padding. With a window, a long input is cut into blocks of queries, each with three blocks of
keys; cost and memory then grow linearly with the length. A fused operator for windowed attention
would replace the body of `attend_window`.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hazgate_export.author.graph import MICROSOFT, GraphWriter

# Added to scores that must not count. It is finite, so that a row of padding without any key
# gives numbers and not NaN; no token that is read depends on them.
_MASKED = -1e9


@dataclass(frozen=True, slots=True)
class AttentionHeads:
    """Width of the attention; scores are scaled in the weights already."""

    n_heads: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Facts about a batch, computed once for all layers.

    `unpadded` is a bool scalar, `padding` the mask as int32 [batch, sequence]; `n_rows` and
    `n_tokens` are its two sides, int64 [1].
    """

    unpadded: ir.Value
    padding: ir.Value
    n_rows: ir.Value
    n_tokens: ir.Value


@dataclass(frozen=True, slots=True)
class LocalWindow:
    """A window of `reach` tokens to each side, as masks and as blocks.

    Attributes:
        covers_all: bool scalar; every token sees all others.
        is_long: bool scalar; the input is cut into blocks.
        band: additive mask of inputs that are not long, float32 [1, 1, sequence, sequence].
        query_rows: rows of the flat batch whose queries each block takes, int64 [blocks, reach].
        key_rows: rows whose keys each block takes, int64 [blocks, 3 x reach].
        key_mask: 0 where a key row stands for no token, int32 [blocks, 3 x reach].
        block_band: additive mask inside a block, float32 [1, 1, reach, 3 x reach].
        padded_shape: shape of the rows with their padding to whole blocks, int64 [3].
        reach: tokens to each side.
    """

    covers_all: ir.Value
    is_long: ir.Value
    band: ir.Value
    query_rows: ir.Value
    key_rows: ir.Value
    key_mask: ir.Value
    block_band: ir.Value
    padded_shape: ir.Value
    reach: int


def describe_batch(g: GraphWriter, input_ids: ir.Value, attention_mask: ir.Value) -> Batch:
    """Read a batch's shape and padding."""
    n_rows = g.op("Shape", input_ids, start=0, end=1)
    n_tokens = g.op("Shape", input_ids, start=1, end=2)
    padding = g.op("Cast", attention_mask, to=ir.DataType.INT32)
    least = g.op("ReduceMin", padding, keepdims=0)
    return Batch(
        unpadded=g.op("Cast", least, to=ir.DataType.BOOL),
        padding=padding,
        n_rows=n_rows,
        n_tokens=n_tokens,
    )


def describe_window(
    g: GraphWriter, batch: Batch, *, reach: int, max_dense_tokens: int, hidden: int
) -> LocalWindow:
    """Prepare the inputs of windowed attention, for any length.

    Args:
        g: receives the nodes.
        batch: the batch.
        reach: tokens seen to each side.
        max_dense_tokens: longer inputs are cut into blocks.
        hidden: width of the rows.
    """
    with g.scope("window"):
        n = g.op("Squeeze", batch.n_tokens)
        is_long = g.op("Greater", n, _scalar(g, max_dense_tokens))
        covers_all = g.op("LessOrEqual", n, _scalar(g, reach + 1))
        dense = np.arange(max_dense_tokens)
        apart = np.abs(dense[:, None] - dense)
        band = g.op(
            "Slice",
            g.constant(np.where(apart <= reach, 0, _MASKED).astype(np.float32), "band"),
            g.ints(0, 0),
            g.op("Concat", batch.n_tokens, batch.n_tokens, axis=0),
        )
        missing = g.op("Mod", g.op("Neg", n), _scalar(g, reach))
        n_padded = g.op("Add", n, missing)
        first = g.op(
            "Unsqueeze", g.op("Range", _scalar(g, 0), n_padded, _scalar(g, reach)), g.ints(1)
        )
        rows = g.op("Range", _scalar(g, 0), g.op("Squeeze", batch.n_rows), _scalar(g, 1))
        row_start = g.op("Reshape", g.op("Mul", rows, n), g.ints(-1, 1, 1))
        last = g.op("Sub", n, _scalar(g, 1))

        def flat(position: ir.Value, width: int) -> ir.Value:
            inside = g.op("Max", g.op("Min", position, last), _scalar(g, 0))
            return g.op("Reshape", g.op("Add", inside, row_start), g.ints(-1, width))

        def positions(offsets: np.ndarray) -> ir.Value:
            return g.op("Add", first, g.constant(offsets.astype(np.int64)[None], "offsets"))

        keys = positions(np.arange(3 * reach) - reach)
        key_rows = flat(keys, 3 * reach)
        exists = g.op(
            "And",
            g.op("GreaterOrEqual", keys, _scalar(g, 0)),
            g.op("LessOrEqual", keys, last),
        )
        is_token = g.op("Gather", g.op("Reshape", batch.padding, g.ints(-1)), key_rows)
        every = g.op(
            "Expand",
            g.op("Cast", exists, to=ir.DataType.INT32),
            g.op("Concat", batch.n_rows, g.ints(1, 1), axis=0),
        )
        key_mask = g.op("Mul", is_token, g.op("Reshape", every, g.ints(-1, 3 * reach)))
        ahead = np.arange(3 * reach) - np.arange(reach)[:, None]
        block_band = np.where((ahead >= 0) & (ahead <= 2 * reach), 0, _MASKED)
        return LocalWindow(
            covers_all=covers_all,
            is_long=is_long,
            band=g.op("Unsqueeze", band, g.ints(0, 1)),
            query_rows=flat(positions(np.arange(reach)), reach),
            key_rows=key_rows,
            key_mask=key_mask,
            block_band=g.constant(block_band.astype(np.float32)[None, None], "block_band"),
            padded_shape=g.op(
                "Concat",
                batch.n_rows,
                g.op("Unsqueeze", n_padded, g.ints(0)),
                g.ints(hidden),
                axis=0,
            ),
            reach=reach,
        )


def attend(
    g: GraphWriter,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    heads: AttentionHeads,
    batch: Batch,
    bias: ir.Value | None = None,
) -> ir.Value:
    """Let every token attend to every token of its row.

    Args:
        g: receives the nodes.
        q: float32 [batch, sequence, hidden].
        k: as `q`.
        v: as `q`.
        heads: how the width divides.
        batch: tells whether there is padding to be left out.
        bias: of the three projections, float32 [3 x hidden], if they have one.

    Returns:
        float32 [batch, sequence, hidden].
    """
    return g.choose(
        batch.unpadded,
        lambda b: _attention(b, q, k, v, heads, bias=bias),
        lambda b: _attention(b, q, k, v, heads, bias=bias, padding=batch.padding),
    )


def attend_window(
    g: GraphWriter,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    heads: AttentionHeads,
    batch: Batch,
    window: LocalWindow,
) -> ir.Value:
    """Let every token attend to its window; shapes as in `attend`."""

    def whole(b: GraphWriter) -> ir.Value:
        return b.choose(
            window.covers_all,
            lambda c: _attention(c, q, k, v, heads),
            lambda c: _attention(c, q, k, v, heads, mask=window.band),
        )

    def dense(b: GraphWriter) -> ir.Value:
        return b.choose(
            batch.unpadded,
            whole,
            lambda c: _attention(c, q, k, v, heads, padding=batch.padding, mask=window.band),
        )

    return g.choose(window.is_long, lambda b: _blocks(b, q, k, v, heads, batch, window), dense)


def _blocks(
    g: GraphWriter,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    heads: AttentionHeads,
    batch: Batch,
    window: LocalWindow,
) -> ir.Value:
    """Attend in blocks of `reach` queries, each with the 3 x `reach` keys that it may see."""

    def gather(x: ir.Value, rows: ir.Value) -> ir.Value:
        return g.op("Gather", g.op("Reshape", x, g.ints(-1, heads.hidden)), rows)

    blocks = _attention(
        g,
        gather(q, window.query_rows),
        gather(k, window.key_rows),
        gather(v, window.key_rows),
        heads,
        padding=window.key_mask,
        mask=window.block_band,
    )
    padded = g.op("Reshape", blocks, window.padded_shape)
    return g.op("Slice", padded, g.ints(0), batch.n_tokens, g.ints(1))


def _attention(
    g: GraphWriter,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    heads: AttentionHeads,
    *,
    bias: ir.Value | None = None,
    padding: ir.Value | None = None,
    mask: ir.Value | None = None,
) -> ir.Value:
    return g.op(
        "MultiHeadAttention",
        q,
        k,
        v,
        bias,
        padding,
        mask,
        domain=MICROSOFT,
        num_heads=heads.n_heads,
        scale=1.0,
        mask_filter_value=_MASKED,
    )


def _scalar(g: GraphWriter, value: int) -> ir.Value:
    return g.constant(np.array(value, dtype=np.int64), "scalar")
