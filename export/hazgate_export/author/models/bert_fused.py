"""BERT of hazgate-kernels' operators: five nodes a layer, on tokens without padding."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from hazgate_export.author.exits import ExitLayers, begin, leave, outputs, remaining
from hazgate_export.author.fused import (
    Bits,
    FusedNorm,
    attention,
    dense,
    first_rows,
    linear,
    norm_linear,
    pack,
    unpack,
)
from hazgate_export.author.graph import GraphWriter
from hazgate_export.author.layers import embed, layer_norm, logits_output, token_inputs
from hazgate_export.author.models.bert import Bert


def write_bert_fused(
    model: Bert, bits: Mapping[str, Bits], opset: int, exits: ExitLayers | None = None
) -> ir.Model:
    """Write the graph: `input_ids`, `attention_mask` int64 [batch, sequence] to `logits` float32.

    A norm follows a sum here, and its result is both multiplied and added to the next sum. So each
    norm is computed by the product after it, which also returns the norm's result.

    Args:
        model: the weights; matrices of layers and the table of words are stored in int8.
        bits: bits of a site's activations; 8 for sites that are not listed.
        opset: of the ONNX domain.
        exits: where texts may leave, at a level of texts; `author.exits` says which inputs and
            outputs that adds.
    """
    g = GraphWriter()
    input_ids, attention_mask = token_inputs()
    packed = pack(g, input_ids, attention_mask)
    n_labels = model.classifier.shape[1]
    leaving = None
    if exits is not None:
        leaving = begin(g, exits, packed, attention_mask, hidden=model.hidden, n_labels=n_labels)
    with g.scope("embeddings"):
        words = embed(g, model.words, packed.ids, "int8")
        position = g.op("Gather", packed.places, g.ints(1), axis=1)
        positions = g.op(
            "Gather",
            g.constant(model.positions, "positions"),
            g.op("Squeeze", position, g.ints(1)),
        )
        x = g.op("Add", words, positions)
    before = model.embedding_norm
    for i, layer in enumerate(model.layers):
        with g.scope(f"layer.{i}/attention"):
            none = np.zeros_like(layer.query_bias)
            qkv, x = norm_linear(
                g,
                x,
                (("query", layer.query), ("key", layer.key), ("value", layer.value)),
                norm=FusedNorm(before.weight, before.bias, model.norm_eps, layer.attention_balance),
                bias=np.concatenate([layer.query_bias, none, none]),
                bits=bits.get(f"layer.{i}/attention/in", 8),
            )
            mixed = attention(g, qkv, packed, n_heads=model.n_heads)
            x = linear(
                g,
                mixed,
                (("out", layer.attention_out),),
                bias=layer.attention_out_bias,
                residual=x,
                bits=bits.get(f"layer.{i}/attention/out", 8),
            )
        with g.scope(f"layer.{i}/mlp"):
            norm = layer.attention_norm
            inner, x = norm_linear(
                g,
                x,
                (("in", layer.mlp_in),),
                norm=FusedNorm(norm.weight, norm.bias, model.norm_eps, layer.mlp_balance),
                bias=layer.mlp_in_bias,
                activation="gelu",
            )
            x = linear(
                g,
                inner,
                (("out", layer.mlp_out),),
                bias=layer.mlp_out_bias,
                residual=x,
                bits=bits.get(f"layer.{i}/mlp/out", 8),
            )
        before = layer.mlp_norm
        if leaving is not None and leaving.is_after(i + 1):
            with g.scope(f"layer.{i}/exit"):
                pooling = FusedNorm(before.weight, None, model.norm_eps)
                x, packed, leaving = leave(g, leaving, x, packed, pooling)
    left = packed if leaving is None else remaining(g, leaving, packed)
    with g.scope("head"):
        rows = x if model.per_token else first_rows(g, x, left)
        pooled = layer_norm(g, rows, before.weight, before.bias, model.norm_eps)
        if model.pooler is not None:
            weight, bias = model.pooler
            pooled = g.op("Tanh", dense(g, pooled, ("pooler", weight), bias))
        logits = dense(g, pooled, ("classifier", model.classifier), model.classifier_bias)
        if model.per_token:
            logits = unpack(g, logits, packed, input_ids, n_labels)
    if leaving is None:
        declared = [logits_output(logits, n_labels, per_token=model.per_token)]
        return g.model((input_ids, attention_mask), declared, opset)
    declared = outputs(g, leaving, logits, hidden=model.hidden, n_labels=n_labels)
    return g.model((input_ids, attention_mask, *leaving.inputs), declared, opset)
