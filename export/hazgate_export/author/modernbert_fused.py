"""ModernBERT of hazgate-kernels' operators: five nodes a layer, on tokens without padding."""

import onnx_ir as ir

from hazgate_export.author.fused import Norm, attention, linear, pack, unpack
from hazgate_export.author.graph import GraphWriter
from hazgate_export.author.layers import embed, logits_output, token_inputs
from hazgate_export.author.modernbert import ModernBert, write_head


def write_modernbert_fused(model: ModernBert, opset: int) -> ir.Model:
    """The graph: `input_ids`, `attention_mask` int64 [batch, sequence] to `logits` float32.

    Args:
        model: the weights; int8 where a layer multiplies by them, as is the embedding table.
        opset: of the ONNX domain.
    """
    g = GraphWriter()
    input_ids, attention_mask = token_inputs()
    packed = pack(g, input_ids, attention_mask)
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
                norm=None if norm is None else Norm(norm, None, model.norm_eps),
            )
            mixed = attention(
                g,
                qkv,
                packed,
                n_heads=model.n_heads,
                window=None if layer.is_global else model.reach,
                rotary=rotary[layer.is_global],
            )
            x = linear(g, mixed, (("out", layer.attention_out),), residual=x)
        with g.scope(f"layer.{i}/mlp"):
            gated = linear(
                g,
                x,
                (("activated", layer.activated), ("gate", layer.gate)),
                norm=Norm(layer.mlp_norm, None, model.norm_eps),
                activation="gated_gelu",
            )
            x = linear(g, gated, (("out", layer.mlp_out),), residual=x)
    with g.scope("head"):
        rows = unpack(g, x, packed, model.hidden)
        logits = write_head(g, rows, model, attention_mask)
    outputs = [logits_output(logits, model.classifier.shape[1])]
    return g.model((input_ids, attention_mask), outputs, opset)
