"""BERT (arXiv 1810.04805) for sequence classification, as in transformers 4.57.

Post-norm layers with biases, learned positions, exact GELU, a tanh pooler on the first token.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from transformers import PretrainedConfig

from hazgate_export.author.architecture import Expectation, check_config, equals, one_of
from hazgate_export.author.attention import Batch, Heads, attend, describe_batch
from hazgate_export.author.choose import smoothing_factors
from hazgate_export.author.graph import MICROSOFT, GraphWriter
from hazgate_export.author.layers import (
    TablePrecision,
    classify,
    embed,
    expose_as,
    layer_norm,
    logits_output,
    token_inputs,
)
from hazgate_export.author.linear import Arithmetic, project
from hazgate_export.author.observe import Observed

Array = NDArray[np.float32]

_EXPECTED: Mapping[str, Expectation] = {
    "hidden_act": equals("gelu"),
    "position_embedding_type": one_of("absolute", None),
    "is_decoder": equals(False),
    "add_cross_attention": equals(False),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Norm:
    """Weight and bias of a layer norm."""

    weight: Array
    bias: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Weights of one layer, matrices as [in, out].

    `attention_balance` and `mlp_balance` [hidden] are multiplied into what the two halves read, if
    they are there; the matrices behind them hold the inverse.
    """

    attention_balance: Array | None
    mlp_balance: Array | None
    query: Array
    query_bias: Array
    key: Array
    value: Array
    attention_out: Array
    attention_out_bias: Array
    attention_norm: Norm
    mlp_in: Array
    mlp_in_bias: Array
    mlp_out: Array
    mlp_out_bias: Array
    mlp_norm: Norm


@dataclass(frozen=True, kw_only=True, slots=True)
class Bert:
    """A whole classifier; `positions` [positions, hidden] holds the first segment's row, too."""

    n_heads: int
    norm_eps: float
    words: Array
    positions: Array
    embedding_norm: Norm
    layers: tuple[Layer, ...]
    pooler: Array
    pooler_bias: Array
    classifier: Array
    classifier_bias: Array

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return int(self.words.shape[1])


def read_bert(model: torch.nn.Module, config: PretrainedConfig) -> Bert:
    """The weights of a merged model, with what is constant folded, all exact.

    The score scale goes into the queries. A key's bias adds the same to all scores of a query, so
    softmax drops it; a value's bias passes through softmax's weights, which sum to one, into the
    output's.

    Raises:
        UnsupportedArchitecture: the configuration asks for what this graph does not compute.
    """
    check_config(config, _EXPECTED)
    weights = {name: tensor.detach().float() for name, tensor in model.state_dict().items()}
    scale = np.float32(1 / np.sqrt(config.hidden_size // config.num_attention_heads))

    def matrix(name: str) -> Array:
        return np.asarray(weights[f"{name}.weight"].T.contiguous().numpy())

    def vector(name: str) -> Array:
        return np.asarray(weights[name].numpy())

    def norm(name: str) -> Norm:
        return Norm(weight=vector(f"{name}.weight"), bias=vector(f"{name}.bias"))

    def layer(prefix: str) -> Layer:
        attention_out = matrix(f"{prefix}.attention.output.dense")
        value_bias = vector(f"{prefix}.attention.self.value.bias")
        return Layer(
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
        n_heads=config.num_attention_heads,
        norm_eps=config.layer_norm_eps,
        words=vector("bert.embeddings.word_embeddings.weight"),
        positions=vector("bert.embeddings.position_embeddings.weight") + first_segment,
        embedding_norm=norm("bert.embeddings.LayerNorm"),
        layers=tuple(layer(f"bert.encoder.layer.{i}") for i in range(config.num_hidden_layers)),
        pooler=matrix("bert.pooler.dense"),
        pooler_bias=vector("bert.pooler.dense.bias"),
        classifier=matrix("classifier"),
        classifier_bias=vector("classifier.bias"),
    )


def sites(model: Bert) -> dict[str, tuple[Array, ...]]:
    """Every activation that is multiplied by weights in the layers, with those weights."""
    found: dict[str, tuple[Array, ...]] = {}
    for i, layer in enumerate(model.layers):
        found[f"layer.{i}/attention/in"] = (layer.query, layer.key, layer.value)
        found[f"layer.{i}/attention/out"] = (layer.attention_out,)
        found[f"layer.{i}/mlp/in"] = (layer.mlp_in,)
        found[f"layer.{i}/mlp/out"] = (layer.mlp_out,)
    return found


def smooth(model: Bert, observed: Mapping[str, Observed]) -> tuple[Bert, dict[str, Observed]]:
    """Moves outliers of activations into the matrices behind them.

    Attention passes values channel by channel, so they balance its output for nothing. A post-norm
    layer's norm feeds the residual stream, too: what it gives is multiplied by a vector of its own
    before it is quantised. GELU's output gains nothing by it.

    Returns:
        The model, equal to the last bit in float32, and what is observed in it.
    """
    layers, seen = [], dict(observed)
    for i, layer in enumerate(model.layers):
        attention_in, attention_out, mlp_in = (
            f"layer.{i}/attention/in",
            f"layer.{i}/attention/out",
            f"layer.{i}/mlp/in",
        )
        inputs = smoothing_factors(observed[attention_in], [layer.query, layer.key, layer.value])
        value = smoothing_factors(observed[attention_out], [layer.attention_out])
        mlp = smoothing_factors(observed[mlp_in], [layer.mlp_in])
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
        for site, factors in ((attention_in, inputs), (attention_out, value), (mlp_in, mlp)):
            seen[site] = observed[site].divided(factors)
    return dataclasses.replace(model, layers=tuple(layers)), seen


def write_bert(
    model: Bert,
    arithmetic: Mapping[str, Arithmetic],
    table: TablePrecision,
    opset: int,
    *,
    expose: bool = False,
) -> ir.Model:
    """The graph: `input_ids`, `attention_mask` int64 [batch, sequence] to `logits` float32.

    Args:
        model: the weights.
        arithmetic: how the products of each of the `sites` are computed.
        table: what the embedding table is stored in.
        opset: of the ONNX domain.
        expose: make every site's activation an output, named like it, for calibration.
    """
    g = GraphWriter()
    input_ids, attention_mask = token_inputs()
    heads = Heads(n_heads=model.n_heads, hidden=model.hidden)
    batch = describe_batch(g, input_ids, attention_mask)
    writer = _Writer(g, model, heads, batch, arithmetic)
    x = writer.embeddings(input_ids, table)
    for i, layer in enumerate(model.layers):
        with g.scope(f"layer.{i}"):
            x = writer.attention(x, layer, f"layer.{i}")
            x = writer.mlp(x, layer, f"layer.{i}")
    with g.scope("head"):
        logits = _head(g, x, model)
    outputs = [logits_output(logits, model.classifier.shape[1])]
    if expose:
        outputs.extend(expose_as(name, value) for name, value in writer.exposed.items())
    return g.model((input_ids, attention_mask), outputs, opset)


class _Writer:
    """The parts of the encoder, on a residual stream [batch, sequence, hidden]."""

    def __init__(
        self,
        g: GraphWriter,
        model: Bert,
        heads: Heads,
        batch: Batch,
        arithmetic: Mapping[str, Arithmetic],
    ) -> None:
        self._g = g
        self._model = model
        self._heads = heads
        self._batch = batch
        self._arithmetic = arithmetic
        self.exposed: dict[str, ir.Value] = {}

    def embeddings(self, input_ids: ir.Value, table: TablePrecision) -> ir.Value:
        g, model = self._g, self._model
        with g.scope("embeddings"):
            words = embed(g, model.words, input_ids, table)
            rows = g.constant(model.positions, "positions")
            positions = g.op("Slice", rows, g.ints(0), self._batch.n_tokens, g.ints(0))
            return self._norm(g.op("Add", words, positions), model.embedding_norm)

    def attention(self, x: ir.Value, layer: Layer, name: str) -> ir.Value:
        g = self._g
        with g.scope("attention"):
            q, k, v = self._project(
                f"{name}/attention/in",
                self._balanced(x, layer.attention_balance),
                (("query", layer.query), ("key", layer.key), ("value", layer.value)),
            )
            none = np.zeros_like(layer.query_bias)
            bias = g.constant(np.concatenate([layer.query_bias, none, none]), "bias")
            mixed = attend(g, q, k, v, self._heads, self._batch, bias)
            (out,) = self._project(f"{name}/attention/out", mixed, (("out", layer.attention_out),))
            return self._add_norm(x, out, layer.attention_out_bias, layer.attention_norm)

    def mlp(self, x: ir.Value, layer: Layer, name: str) -> ir.Value:
        g = self._g
        with g.scope("mlp"):
            (inner,) = self._project(
                f"{name}/mlp/in",
                self._balanced(x, layer.mlp_balance),
                (("in", layer.mlp_in),),
            )
            bias = g.constant(layer.mlp_in_bias, "in.bias")
            activated = g.op("BiasGelu", inner, bias, domain=MICROSOFT)
            (out,) = self._project(f"{name}/mlp/out", activated, (("out", layer.mlp_out),))
            return self._add_norm(x, out, layer.mlp_out_bias, layer.mlp_norm)

    def _balanced(self, x: ir.Value, balance: Array | None) -> ir.Value:
        if balance is None:
            return x
        return self._g.op("Mul", x, self._g.constant(balance, "balance"))

    def _add_norm(self, x: ir.Value, out: ir.Value, bias: Array, norm: Norm) -> ir.Value:
        g = self._g
        biased = g.op("Add", out, g.constant(bias, "out.bias"))
        return self._norm(g.op("Add", x, biased), norm)

    def _project(
        self, site: str, x: ir.Value, weights: tuple[tuple[str, Array], ...]
    ) -> list[ir.Value]:
        self.exposed[site] = x
        return project(self._g, x, weights, self._arithmetic[site])

    def _norm(self, x: ir.Value, norm: Norm) -> ir.Value:
        return layer_norm(self._g, x, norm.weight, norm.bias, self._model.norm_eps)


def _head(g: GraphWriter, x: ir.Value, model: Bert) -> ir.Value:
    first = g.op("Gather", x, g.constant(np.array(0, dtype=np.int64), "first"), axis=1)
    dense = g.op(
        "Gemm",
        first,
        g.constant(model.pooler, "pooler.weight"),
        g.constant(model.pooler_bias, "pooler.bias"),
    )
    return classify(g, g.op("Tanh", dense), model.classifier, model.classifier_bias)
