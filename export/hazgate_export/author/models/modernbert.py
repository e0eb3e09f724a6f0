"""ModernBERT (arXiv 2412.13663) for classification of texts or tokens, as in transformers 4.57.

Pre-norm layers without biases, rotary positions, GeGLU, and two kinds of attention: every n-th
layer sees the whole text, the others a window of 64 tokens to each side.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from hazgate_export.author.architecture import Expectation, check_architecture, equals
from hazgate_export.author.attention import LocalWindow, attend, attend_window, describe_window
from hazgate_export.author.choose import smoothing_factors
from hazgate_export.author.encoder import EncoderGraph, encoder_sites
from hazgate_export.author.graph import MICROSOFT, GraphWriter
from hazgate_export.author.layers import (
    TablePrecision,
    classify,
    classify_tokens,
    embed,
    first_token,
    layer_norm,
)
from hazgate_export.author.linear import Arithmetic
from hazgate_export.author.observe import Observations, divide_sites
from hazgate_export.author.sites import Array, LayerSites, Sites
from hazgate_export.author.tensors import ModelTensors
from hazgate_export.model.architecture import LayerType, ModernBertArchitecture
from hazgate_export.model.rotary import rotary_tables

# An input of up to this many windows to one side costs less as one dense block under a mask.
_MAX_DENSE_REACHES = 4

_EXPECTED: Mapping[str, Expectation] = {
    "hidden_activation": equals("gelu"),
    "classifier_activation": equals("gelu"),
    "attention_bias": equals(False),
    "mlp_bias": equals(False),
    "norm_bias": equals(False),
    "classifier_bias": equals(False),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModernBertLayer:
    """Weights of one layer, matrices as [in, out]; `attention_norm` is None in the first.

    `activated` and `multiplier` are the halves of the GeGLU's input projection.
    """

    layer_type: LayerType
    attention_norm: Array | None
    query: Array
    key: Array
    value: Array
    attention_out: Array
    mlp_norm: Array
    activated: Array
    multiplier: Array
    mlp_out: Array

    @property
    def mlp_inputs(self) -> tuple[Array, Array]:
        """Matrices that the MLP's input meets."""
        return (self.activated, self.multiplier)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModernBert:
    """A whole classifier: embeddings [vocabulary, hidden], already normalised; layers; head.

    `rotary` holds cos and sin [positions, head / 2] of each kind of layer. With `per_token`, the
    head reads each token by itself, and `pooling` means nothing.
    """

    n_heads: int
    norm_eps: float
    reach: int
    pooling: str
    per_token: bool
    embeddings: Array
    rotary: Mapping[LayerType, tuple[Array, Array]]
    layers: tuple[ModernBertLayer, ...]
    final_norm: Array
    head_dense: Array
    head_norm: Array
    classifier: Array
    classifier_bias: Array

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return int(self.embeddings.shape[1])

    @property
    def sites(self) -> Sites:
        """Every activation that is multiplied by weights in the layers, with those weights."""
        return encoder_sites(self.layers)


def read_modernbert(
    model: torch.nn.Module, architecture: ModernBertArchitecture, *, per_token: bool = False
) -> ModernBert:
    """Read the weights of a merged model and fold its constants.

    The score scale goes into the query weights, the embeddings' norm into their table, both
    exactly.

    Raises:
        UnsupportedArchitecture: the architecture has what this graph does not compute.
    """
    check_architecture(architecture, _EXPECTED)
    tensors = ModelTensors(model)
    matrix, vector = tensors.matrix, tensors.vector
    head_width = architecture.hidden_size // architecture.num_attention_heads

    def layer(i: int) -> ModernBertLayer:
        prefix = f"model.layers.{i}"
        query, key, value = np.split(matrix(f"{prefix}.attn.Wqkv"), 3, axis=1)
        activated, multiplier = np.split(matrix(f"{prefix}.mlp.Wi"), 2, axis=1)
        return ModernBertLayer(
            layer_type=architecture.layer_types[i],
            attention_norm=vector(f"{prefix}.attn_norm.weight") if i else None,
            query=query / np.float32(np.sqrt(head_width)),
            key=key,
            value=value,
            attention_out=matrix(f"{prefix}.attn.Wo"),
            mlp_norm=vector(f"{prefix}.mlp_norm.weight"),
            activated=activated,
            multiplier=multiplier,
            mlp_out=matrix(f"{prefix}.mlp.Wo"),
        )

    embeddings = torch.nn.functional.layer_norm(
        tensors.tensor("model.embeddings.tok_embeddings.weight"),
        (architecture.hidden_size,),
        tensors.tensor("model.embeddings.norm.weight"),
        eps=architecture.norm_eps,
    )
    return ModernBert(
        n_heads=architecture.num_attention_heads,
        norm_eps=architecture.norm_eps,
        reach=architecture.local_attention // 2,
        pooling=architecture.classifier_pooling,
        per_token=per_token,
        embeddings=np.asarray(embeddings.numpy()),
        rotary={
            kind: rotary_tables(
                architecture.rotary(kind), head_width, architecture.max_position_embeddings
            )
            for kind in sorted(set(architecture.layer_types))
        },
        layers=tuple(layer(i) for i in range(len(architecture.layer_types))),
        final_norm=vector("model.final_norm.weight"),
        head_dense=matrix("head.dense"),
        head_norm=vector("head.norm.weight"),
        classifier=matrix("classifier"),
        classifier_bias=vector("classifier.bias"),
    )


def smooth_modernbert(model: ModernBert, observed: Observations) -> tuple[ModernBert, Observations]:
    """Move outliers of activations into weights, where they are quantised per column.

    Norm weights balance the input projections. Attention passes values channel by channel and the
    GeGLU is linear in its multiplier, so both balance the matrix after them. The first layer's
    attention reads the residual stream itself: nothing can be moved there.

    Returns:
        The model, equal to the last bit in float32, and the activations that it would show.
    """
    layers = []
    factors: dict[str, Array] = {}
    for i, layer in enumerate(model.layers):
        names = LayerSites.of(i)
        value = smoothing_factors(observed[names.attention_out], [layer.attention_out])
        norm = smoothing_factors(observed[names.mlp_in], [layer.activated, layer.multiplier])
        multiplier = smoothing_factors(observed[names.mlp_out], [layer.mlp_out])
        smoothed = dataclasses.replace(
            layer,
            value=layer.value / value,
            attention_out=layer.attention_out * value[:, None],
            mlp_norm=layer.mlp_norm / norm,
            activated=layer.activated * norm[:, None],
            multiplier=layer.multiplier * norm[:, None] / multiplier,
            mlp_out=layer.mlp_out * multiplier[:, None],
        )
        factors |= {names.attention_out: value, names.mlp_in: norm, names.mlp_out: multiplier}
        if layer.attention_norm is not None:
            inputs = smoothing_factors(
                observed[names.attention_in], [layer.query, layer.key, layer.value]
            )
            smoothed = dataclasses.replace(
                smoothed,
                attention_norm=layer.attention_norm / inputs,
                query=smoothed.query * inputs[:, None],
                key=smoothed.key * inputs[:, None],
                value=smoothed.value * inputs[:, None],
            )
            factors[names.attention_in] = inputs
        layers.append(smoothed)
    return dataclasses.replace(model, layers=tuple(layers)), divide_sites(observed, factors)


def write_modernbert(
    model: ModernBert,
    arithmetic: Mapping[str, Arithmetic],
    table: TablePrecision,
    opset: int,
    *,
    expose: bool = False,
) -> ir.Model:
    """Write the graph: `input_ids`, `attention_mask` int64 [batch, sequence] to `logits` float32.

    Args:
        model: the weights.
        arithmetic: arithmetic of the products of each site.
        table: precision of the stored embedding table.
        opset: of the ONNX domain, 18 or 19.
        expose: also output every site's activation, under the site's name.
    """
    graph = EncoderGraph.begin(n_heads=model.n_heads, hidden=model.hidden, arithmetic=arithmetic)
    g = graph.g
    window = describe_window(
        g,
        graph.batch,
        reach=model.reach,
        max_dense_tokens=_MAX_DENSE_REACHES * model.reach,
        hidden=model.hidden,
    )
    writer = _Writer(graph, model, window)
    x = embed(g, model.embeddings, graph.input_ids, table)
    for i, layer in enumerate(model.layers):
        with g.scope(f"layer.{i}"):
            x = writer.attention(x, layer, LayerSites.of(i))
            x = writer.mlp(x, layer, LayerSites.of(i))
    with g.scope("head"):
        logits = _head(g, x, model, graph.attention_mask)
    n_labels = model.classifier.shape[1]
    return graph.end(logits, n_labels, opset, expose=expose, per_token=model.per_token)


class _Writer:
    """Halves of a layer, on a residual stream [batch, sequence, hidden]."""

    def __init__(self, graph: EncoderGraph, model: ModernBert, window: LocalWindow) -> None:
        self._graph = graph
        self._g = graph.g
        self._model = model
        self._window = window
        self._rotary = {
            kind: tuple(graph.g.constant(table, "rotary") for table in tables)
            for kind, tables in model.rotary.items()
        }

    def attention(self, x: ir.Value, layer: ModernBertLayer, sites: LayerSites) -> ir.Value:
        g, graph = self._g, self._graph
        with g.scope("attention"):
            normed = x if layer.attention_norm is None else self._norm(x, layer.attention_norm)
            q, k, v = graph.queries_keys_values(normed, layer, sites)
            q, k = self._rotate(q, layer.layer_type), self._rotate(k, layer.layer_type)
            if layer.layer_type == "full_attention":
                mixed = attend(g, q, k, v, graph.heads, graph.batch)
            else:
                mixed = attend_window(g, q, k, v, graph.heads, graph.batch, self._window)
            return g.op("Add", x, graph.attention_out(mixed, layer, sites))

    def mlp(self, x: ir.Value, layer: ModernBertLayer, sites: LayerSites) -> ir.Value:
        g, products = self._g, self._graph.products
        with g.scope("mlp"):
            activated, multiplier = products.write(
                sites.mlp_in,
                self._norm(x, layer.mlp_norm),
                # Graphs keep the name "gate", so that bundles stay the same.
                (("activated", layer.activated), ("gate", layer.multiplier)),
            )
            gated = g.op("Mul", g.op("Gelu", activated, domain=MICROSOFT), multiplier)
            (out,) = products.write(sites.mlp_out, gated, (("out", layer.mlp_out),))
            return g.op("Add", x, out)

    def _norm(self, x: ir.Value, weight: Array) -> ir.Value:
        return layer_norm(self._g, x, weight, None, self._model.norm_eps)

    def _rotate(self, x: ir.Value, layer_type: LayerType) -> ir.Value:
        cos, sin = self._rotary[layer_type]
        # One position: the first row's, from which the kernel counts.
        first = self._g.ints(0)
        return self._g.op("RotaryEmbedding", x, first, cos, sin, domain=MICROSOFT)


def _head(g: GraphWriter, x: ir.Value, model: ModernBert, attention_mask: ir.Value) -> ir.Value:
    normed = layer_norm(g, x, model.final_norm, None, model.norm_eps)
    if model.per_token:
        pooled = normed
    elif model.pooling == "cls":
        pooled = first_token(g, normed)
    else:
        mask = g.op("Cast", attention_mask, to=ir.DataType.FLOAT)
        total = g.op("MatMul", g.op("Unsqueeze", mask, g.ints(1)), normed)
        count = g.op("ReduceSum", mask, g.ints(1), keepdims=1)
        pooled = g.op("Div", g.op("Squeeze", total, g.ints(1)), count)
    dense = g.op("MatMul", pooled, g.constant(model.head_dense, "dense.weight"))
    activated = g.op("Gelu", dense, domain=MICROSOFT)
    normed = layer_norm(g, activated, model.head_norm, None, model.norm_eps)
    write = classify_tokens if model.per_token else classify
    return write(g, normed, model.classifier, model.classifier_bias)
