"""BERT (arXiv 1810.04805) for classification of texts or tokens, as in transformers 4.57.

Post-norm layers with biases, learned positions, exact GELU; for texts, a tanh pooler on the first
token.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from hazgate_export.author.architecture import Expectation, check_architecture, equals
from hazgate_export.author.attention import attend
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
from hazgate_export.model.architecture import BertArchitecture

_EXPECTED: Mapping[str, Expectation] = {
    "hidden_act": equals("gelu"),
    "position_embedding_type": equals("absolute"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NormWeights:
    """Weight and bias of a layer norm."""

    weight: Array
    bias: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class BertLayer:
    """Weights of one layer, matrices as [in, out].

    `attention_balance` and `mlp_balance` [hidden], if any, are multiplied into the inputs of the
    two halves; the matrices after them hold the inverse.
    """

    attention_balance: Array | None
    mlp_balance: Array | None
    query: Array
    query_bias: Array
    key: Array
    value: Array
    attention_out: Array
    attention_out_bias: Array
    attention_norm: NormWeights
    mlp_in: Array
    mlp_in_bias: Array
    mlp_out: Array
    mlp_out_bias: Array
    mlp_norm: NormWeights

    @property
    def mlp_inputs(self) -> tuple[Array]:
        """Matrices that the MLP's input meets."""
        return (self.mlp_in,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bert:
    """A whole classifier; `positions` [positions, hidden] holds the first segment's row, too.

    `pooler` is None in a classifier of tokens, which pools nothing.
    """

    n_heads: int
    norm_eps: float
    words: Array
    positions: Array
    embedding_norm: NormWeights
    layers: tuple[BertLayer, ...]
    pooler: tuple[Array, Array] | None
    classifier: Array
    classifier_bias: Array

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return int(self.words.shape[1])

    @property
    def per_token(self) -> bool:
        """True if it has logits of each token, False if of the text."""
        return self.pooler is None

    @property
    def sites(self) -> Sites:
        """Every activation that is multiplied by weights in the layers, with those weights."""
        return encoder_sites(self.layers)


def read_bert(
    model: torch.nn.Module, architecture: BertArchitecture, *, per_token: bool = False
) -> Bert:
    """Read the weights of a merged model and fold its constants, all exactly.

    The score scale goes into the queries. A key's bias adds the same to all scores of a query, so
    softmax drops it. Softmax's weights sum to one, so a value's bias goes into the output's bias.

    Raises:
        UnsupportedArchitecture: the architecture has what this graph does not compute.
    """
    check_architecture(architecture, _EXPECTED)
    tensors = ModelTensors(model)
    matrix, vector = tensors.matrix, tensors.vector
    width = architecture.hidden_size // architecture.num_attention_heads
    scale = np.float32(1 / np.sqrt(width))

    def norm(name: str) -> NormWeights:
        return NormWeights(weight=vector(f"{name}.weight"), bias=vector(f"{name}.bias"))

    def layer(prefix: str) -> BertLayer:
        attention_out = matrix(f"{prefix}.attention.output.dense")
        value_bias = vector(f"{prefix}.attention.self.value.bias")
        return BertLayer(
            attention_balance=None,
            mlp_balance=None,
            query=matrix(f"{prefix}.attention.self.query") * scale,
            query_bias=vector(f"{prefix}.attention.self.query.bias") * scale,
            key=matrix(f"{prefix}.attention.self.key"),
            value=matrix(f"{prefix}.attention.self.value"),
            attention_out=attention_out,
            attention_out_bias=vector(f"{prefix}.attention.output.dense.bias")
            + value_bias @ attention_out,
            attention_norm=norm(f"{prefix}.attention.output.LayerNorm"),
            mlp_in=matrix(f"{prefix}.intermediate.dense"),
            mlp_in_bias=vector(f"{prefix}.intermediate.dense.bias"),
            mlp_out=matrix(f"{prefix}.output.dense"),
            mlp_out_bias=vector(f"{prefix}.output.dense.bias"),
            mlp_norm=norm(f"{prefix}.output.LayerNorm"),
        )

    first_segment = vector("bert.embeddings.token_type_embeddings.weight")[0]
    return Bert(
        n_heads=architecture.num_attention_heads,
        norm_eps=architecture.layer_norm_eps,
        words=vector("bert.embeddings.word_embeddings.weight"),
        positions=vector("bert.embeddings.position_embeddings.weight") + first_segment,
        embedding_norm=norm("bert.embeddings.LayerNorm"),
        layers=tuple(
            layer(f"bert.encoder.layer.{i}") for i in range(architecture.num_hidden_layers)
        ),
        pooler=(
            None if per_token else (matrix("bert.pooler.dense"), vector("bert.pooler.dense.bias"))
        ),
        classifier=matrix("classifier"),
        classifier_bias=vector("classifier.bias"),
    )


def smooth_bert(model: Bert, observed: Observations) -> tuple[Bert, Observations]:
    """Move outliers of activations into the matrices after them.

    Attention passes values channel by channel, so they balance its output at no cost. A post-norm
    layer's norm also feeds the residual stream: its result is multiplied by a separate vector
    before it is quantised. GELU's output gains nothing by it.

    Returns:
        The model, equal to the last bit in float32, and the activations that it would show.
    """
    layers = []
    factors: dict[str, Array] = {}
    for i, layer in enumerate(model.layers):
        names = LayerSites.of(i)
        inputs = smoothing_factors(
            observed[names.attention_in], [layer.query, layer.key, layer.value]
        )
        value = smoothing_factors(observed[names.attention_out], [layer.attention_out])
        mlp = smoothing_factors(observed[names.mlp_in], [layer.mlp_in])
        layers.append(
            dataclasses.replace(
                layer,
                attention_balance=np.reciprocal(inputs),
                mlp_balance=np.reciprocal(mlp),
                query=layer.query * inputs[:, None],
                key=layer.key * inputs[:, None],
                value=layer.value * inputs[:, None] / value,
                attention_out=layer.attention_out * value[:, None],
                mlp_in=layer.mlp_in * mlp[:, None],
            )
        )
        factors |= {names.attention_in: inputs, names.attention_out: value, names.mlp_in: mlp}
    return dataclasses.replace(model, layers=tuple(layers)), divide_sites(observed, factors)


def write_bert(
    model: Bert,
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
        opset: of the ONNX domain.
        expose: also output every site's activation, under the site's name.
    """
    graph = EncoderGraph.begin(n_heads=model.n_heads, hidden=model.hidden, arithmetic=arithmetic)
    g = graph.g
    writer = _Writer(graph, model)
    x = writer.embeddings(table)
    for i, layer in enumerate(model.layers):
        with g.scope(f"layer.{i}"):
            x = writer.attention(x, layer, LayerSites.of(i))
            x = writer.mlp(x, layer, LayerSites.of(i))
    with g.scope("head"):
        logits = _head(g, x, model)
    n_labels = model.classifier.shape[1]
    return graph.end(logits, n_labels, opset, expose=expose, per_token=model.per_token)


class _Writer:
    """Parts of the encoder, on a residual stream [batch, sequence, hidden]."""

    def __init__(self, graph: EncoderGraph, model: Bert) -> None:
        self._graph = graph
        self._g = graph.g
        self._model = model

    def embeddings(self, table: TablePrecision) -> ir.Value:
        g, model, graph = self._g, self._model, self._graph
        with g.scope("embeddings"):
            words = embed(g, model.words, graph.input_ids, table)
            rows = g.constant(model.positions, "positions")
            positions = g.op("Slice", rows, g.ints(0), graph.batch.n_tokens, g.ints(0))
            return self._norm(g.op("Add", words, positions), model.embedding_norm)

    def attention(self, x: ir.Value, layer: BertLayer, sites: LayerSites) -> ir.Value:
        g, graph = self._g, self._graph
        with g.scope("attention"):
            balanced = self._balanced(x, layer.attention_balance)
            q, k, v = graph.queries_keys_values(balanced, layer, sites)
            none = np.zeros_like(layer.query_bias)
            bias = g.constant(np.concatenate([layer.query_bias, none, none]), "bias")
            mixed = attend(g, q, k, v, graph.heads, graph.batch, bias)
            out = graph.attention_out(mixed, layer, sites)
            return self._add_norm(x, out, layer.attention_out_bias, layer.attention_norm)

    def mlp(self, x: ir.Value, layer: BertLayer, sites: LayerSites) -> ir.Value:
        g, products = self._g, self._graph.products
        with g.scope("mlp"):
            (inner,) = products.write(
                sites.mlp_in,
                self._balanced(x, layer.mlp_balance),
                (("in", layer.mlp_in),),
            )
            bias = g.constant(layer.mlp_in_bias, "in.bias")
            activated = g.op("BiasGelu", inner, bias, domain=MICROSOFT)
            (out,) = products.write(sites.mlp_out, activated, (("out", layer.mlp_out),))
            return self._add_norm(x, out, layer.mlp_out_bias, layer.mlp_norm)

    def _balanced(self, x: ir.Value, balance: Array | None) -> ir.Value:
        if balance is None:
            return x
        return self._g.op("Mul", x, self._g.constant(balance, "balance"))

    def _add_norm(self, x: ir.Value, out: ir.Value, bias: Array, norm: NormWeights) -> ir.Value:
        g = self._g
        biased = g.op("Add", out, g.constant(bias, "out.bias"))
        return self._norm(g.op("Add", x, biased), norm)

    def _norm(self, x: ir.Value, norm: NormWeights) -> ir.Value:
        return layer_norm(self._g, x, norm.weight, norm.bias, self._model.norm_eps)


def _head(g: GraphWriter, x: ir.Value, model: Bert) -> ir.Value:
    if model.pooler is None:
        return classify_tokens(g, x, model.classifier, model.classifier_bias)
    weight, bias = model.pooler
    dense = g.op(
        "Gemm",
        first_token(g, x),
        g.constant(weight, "pooler.weight"),
        g.constant(bias, "pooler.bias"),
    )
    return classify(g, g.op("Tanh", dense), model.classifier, model.classifier_bias)
