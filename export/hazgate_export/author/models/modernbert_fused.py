"""ModernBERT of hazgate-kernels' operators: five nodes a layer, on tokens without padding."""

from collections.abc import Mapping

import onnx_ir as ir

from hazgate_export.author.exits import ExitLayers, begin, leave, outputs, remaining
from hazgate_export.author.fused import (
    Bits,
    FusedNorm,
    attention,
    dense,
    first_rows,
    linear,
    mean,
    pack,
    unpack,
)
from hazgate_export.author.graph import GraphWriter
from hazgate_export.author.layers import embed, layer_norm, logits_output, token_inputs
from hazgate_export.author.models.modernbert import ModernBert


def write_modernbert_fused(
    model: ModernBert, bits: Mapping[str, Bits], opset: int, exits: ExitLayers | None = None
) -> ir.Model:
    """Write the graph: `input_ids`, `attention_mask` int64 [batch, sequence] to `logits` float32.

    Args:
        model: the weights; matrices of layers and the embedding table are stored in int8.
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
    rotary = {
        kind: (g.constant(cos, "rotary"), g.constant(sin, "rotary"))
        for kind, (cos, sin) in model.rotary.items()
    }
    x = embed(g, model.embeddings, packed.ids, "int8")
    for i, layer in enumerate(model.layers):
        with g.scope(f"layer.{i}/attention"):
            norm = layer.attention_norm
            qkv = linear(
                g,
                x,
                (("query", layer.query), ("key", layer.key), ("value", layer.value)),
                norm=None if norm is None else FusedNorm(norm, None, model.norm_eps),
                bits=bits.get(f"layer.{i}/attention/in", 8),
            )
            mixed = attention(
                g,
                qkv,
                packed,
                n_heads=model.n_heads,
                window=None if layer.layer_type == "full_attention" else model.reach,
                rotary=rotary[layer.layer_type],
            )
            x = linear(
                g,
                mixed,
                (("out", layer.attention_out),),
                residual=x,
                bits=bits.get(f"layer.{i}/attention/out", 8),
            )
        with g.scope(f"layer.{i}/mlp"):
            gated = linear(
                g,
                x,
                (("activated", layer.activated), ("gate", layer.multiplier)),
                norm=FusedNorm(layer.mlp_norm, None, model.norm_eps),
                activation="gated_gelu",
            )
            x = linear(
                g,
                gated,
                (("out", layer.mlp_out),),
                residual=x,
                bits=bits.get(f"layer.{i}/mlp/out", 8),
            )
        if leaving is not None and leaving.is_after(i + 1):
            with g.scope(f"layer.{i}/exit"):
                pooling = FusedNorm(model.final_norm, None, model.norm_eps)
                x, packed, leaving = leave(g, leaving, x, packed, pooling)
    left = packed if leaving is None else remaining(g, leaving, packed)
    with g.scope("head"):
        if model.per_token:
            pooled = layer_norm(g, x, model.final_norm, None, model.norm_eps)
        elif model.pooling == "cls":
            pooled = layer_norm(g, first_rows(g, x, left), model.final_norm, None, model.norm_eps)
        else:
            pooled = mean(g, x, left, FusedNorm(model.final_norm, None, model.norm_eps))
        activated = dense(g, pooled, ("dense", model.head_dense), activation="gelu")
        normed = layer_norm(g, activated, model.head_norm, None, model.norm_eps)
        logits = dense(g, normed, ("classifier", model.classifier), model.classifier_bias)
        if model.per_token:
            logits = unpack(g, logits, packed, input_ids, n_labels)
    if leaving is None:
        declared = [logits_output(logits, n_labels, per_token=model.per_token)]
        return g.model((input_ids, attention_mask), declared, opset)
    declared = outputs(g, leaving, logits, hidden=model.hidden, n_labels=n_labels)
    return g.model((input_ids, attention_mask, *leaving.inputs), declared, opset)
