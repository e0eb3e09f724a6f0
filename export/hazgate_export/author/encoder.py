"""Parts that the graphs of all encoders share: inputs, products of attention, outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from hazgate_export.author.attention import AttentionHeads, Batch, describe_batch
from hazgate_export.author.graph import GraphWriter
from hazgate_export.author.layers import Products, classifier_outputs, token_inputs
from hazgate_export.author.linear import Arithmetic
from hazgate_export.author.sites import Array, LayerSites, Sites


class EncoderLayer(Protocol):
    """Matrices [in, out] that a layer of any family has."""

    @property
    def query(self) -> Array:
        """Projection to the queries."""
        ...

    @property
    def key(self) -> Array:
        """Projection to the keys."""
        ...

    @property
    def value(self) -> Array:
        """Projection to the values."""
        ...

    @property
    def attention_out(self) -> Array:
        """Projection of what attention mixed."""
        ...

    @property
    def mlp_inputs(self) -> tuple[Array, ...]:
        """Every matrix that the MLP's input meets."""
        ...

    @property
    def mlp_out(self) -> Array:
        """Projection of the MLP's inner activation."""
        ...


def encoder_sites(layers: Sequence[EncoderLayer]) -> Sites:
    """List every activation that is multiplied by weights in the layers, with those weights."""
    found: dict[str, tuple[Array, ...]] = {}
    for i, layer in enumerate(layers):
        names = LayerSites.of(i)
        found[names.attention_in] = (layer.query, layer.key, layer.value)
        found[names.attention_out] = (layer.attention_out,)
        found[names.mlp_in] = layer.mlp_inputs
        found[names.mlp_out] = (layer.mlp_out,)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderGraph:
    """A graph that is being written: its inputs, how its width divides, its products."""

    g: GraphWriter
    input_ids: ir.Value
    attention_mask: ir.Value
    heads: AttentionHeads
    batch: Batch
    products: Products

    @classmethod
    def begin(
        cls, *, n_heads: int, hidden: int, arithmetic: Mapping[str, Arithmetic]
    ) -> "EncoderGraph":
        """Start a graph with the inputs `input_ids` and `attention_mask`."""
        g = GraphWriter()
        input_ids, attention_mask = token_inputs()
        return cls(
            g=g,
            input_ids=input_ids,
            attention_mask=attention_mask,
            heads=AttentionHeads(n_heads=n_heads, hidden=hidden),
            batch=describe_batch(g, input_ids, attention_mask),
            products=Products(g, arithmetic),
        )

    def queries_keys_values(
        self, x: ir.Value, layer: EncoderLayer, sites: LayerSites
    ) -> list[ir.Value]:
        """Project the input of attention [batch, sequence, hidden] to its three parts."""
        weights = (("query", layer.query), ("key", layer.key), ("value", layer.value))
        return self.products.write(sites.attention_in, x, weights)

    def attention_out(self, mixed: ir.Value, layer: EncoderLayer, sites: LayerSites) -> ir.Value:
        """Project what attention mixed [batch, sequence, hidden]."""
        (out,) = self.products.write(sites.attention_out, mixed, (("out", layer.attention_out),))
        return out

    def end(
        self, logits: ir.Value, n_labels: int, opset: int, *, expose: bool, per_token: bool
    ) -> ir.Model:
        """Return the whole graph; `expose` also outputs every site's activation by its name."""
        outputs = classifier_outputs(
            logits, n_labels, self.products, expose=expose, per_token=per_token
        )
        return self.g.model((self.input_ids, self.attention_mask), outputs, opset)
