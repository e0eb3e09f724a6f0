"""The architectures that have a CPU graph of their own, and the ways to write one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx_ir as ir
from transformers import PreTrainedModel

from hazgate_export.author.choose import choose, choose_bits
from hazgate_export.author.exits import ExitLayers
from hazgate_export.author.fused import Bits
from hazgate_export.author.graph import save_graph
from hazgate_export.author.layers import TablePrecision
from hazgate_export.author.linear import Arithmetic, Float32
from hazgate_export.author.models.bert import Bert, read_bert, smooth_bert, write_bert
from hazgate_export.author.models.bert_fused import write_bert_fused
from hazgate_export.author.models.modernbert import (
    ModernBert,
    read_modernbert,
    smooth_modernbert,
    write_modernbert,
)
from hazgate_export.author.models.modernbert_fused import write_modernbert_fused
from hazgate_export.author.observe import Observations, observe
from hazgate_export.author.sites import Sites
from hazgate_export.errors import UnsupportedArchitecture
from hazgate_export.model.architecture import (
    Architecture,
    BertArchitecture,
    ModernBertArchitecture,
)


class WriteGraph(Protocol):
    """A function that writes a graph of ONNX Runtime's operators; see `write_bert`."""

    def __call__(
        self,
        arithmetic: Mapping[str, Arithmetic],
        table: TablePrecision,
        opset: int,
        *,
        expose: bool = False,
    ) -> ir.Model:
        """Write the graph of weights that are bound already."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthoredWeights:
    """A merged model's weights, as the functions that write graphs of them.

    Attributes:
        sites: every activation that meets weights in the layers, with those weights.
        smooth: balances the weights for int8, by the activations that were observed.
        write: writes the graph.
        write_fused: writes the graph of hazgate-kernels' operators; see `write_bert_fused`.
    """

    sites: Sites
    smooth: "Callable[[Observations], tuple[AuthoredWeights, Observations]]"
    write: WriteGraph
    write_fused: Callable[[Mapping[str, Bits], int, ExitLayers | None], ir.Model]

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len({site.split("/")[0] for site in self.sites})


def bert_weights(weights: Bert) -> AuthoredWeights:
    """Bind the functions of BERT to its weights."""

    def smooth(observed: Observations) -> tuple[AuthoredWeights, Observations]:
        smoothed, seen = smooth_bert(weights, observed)
        return bert_weights(smoothed), seen

    return AuthoredWeights(
        sites=weights.sites,
        smooth=smooth,
        write=partial(write_bert, weights),
        write_fused=partial(write_bert_fused, weights),
    )


def modernbert_weights(weights: ModernBert) -> AuthoredWeights:
    """Bind the functions of ModernBERT to its weights."""

    def smooth(observed: Observations) -> tuple[AuthoredWeights, Observations]:
        smoothed, seen = smooth_modernbert(weights, observed)
        return modernbert_weights(smoothed), seen

    return AuthoredWeights(
        sites=weights.sites,
        smooth=smooth,
        write=partial(write_modernbert, weights),
        write_fused=partial(write_modernbert_fused, weights),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BalancedWeights:
    """Weights balanced for int8, and the activations that were seen at every site."""

    weights: AuthoredWeights
    observed: Observations


def read_weights(
    model: PreTrainedModel, architecture: Architecture, *, per_token: bool = False
) -> AuthoredWeights:
    """Read the weights of a merged model of this architecture.

    Args:
        model: the merged model.
        architecture: its architecture.
        per_token: True if its head labels each token, False if the text.

    Raises:
        UnsupportedArchitecture: no authored graph computes this model; names the fields that
            differ.
    """
    if isinstance(architecture, ModernBertArchitecture):
        return modernbert_weights(read_modernbert(model, architecture, per_token=per_token))
    if isinstance(architecture, BertArchitecture) and architecture.family == "bert":
        return bert_weights(read_bert(model, architecture, per_token=per_token))
    raise UnsupportedArchitecture(
        architecture.family, ["model_type: expected one of bert, modernbert"]
    )


def write_fp32(weights: AuthoredWeights, file: Path, opset: int) -> None:
    """Write the graph in float32, its constants in `file`.data next to it."""
    save_graph(weights.write(dict.fromkeys(weights.sites, Float32()), "float32", opset), file)


def balance_int8(
    weights: AuthoredWeights,
    texts: Sequence[Sequence[int]],
    opset: int,
    folder: Path,
    *,
    threads: int,
) -> BalancedWeights:
    """Run texts through the float32 graph, then balance its weights by the activations seen.

    Args:
        weights: the model's weights.
        texts: ids of each text, special tokens included.
        opset: of the ONNX domain.
        folder: receives a temporary graph.
        threads: intra-op threads.
    """
    every = dict.fromkeys(weights.sites, Float32())
    file = folder / "int8-activations.onnx"
    save_graph(weights.write(every, "float32", opset, expose=True), file)
    try:
        inputs = [np.array([ids], dtype=np.int64) for ids in texts]
        observed = observe(file, inputs, threads=threads)
    finally:
        file.unlink()
        file.with_name(file.name + ".data").unlink()
    smoothed, seen = weights.smooth(observed)
    return BalancedWeights(weights=smoothed, observed=seen)


def write_int8(
    balanced: BalancedWeights, file: Path, opset: int, *, static_error: float, int8_error: float
) -> Mapping[str, int]:
    """Write the graph in int8, every product in the cheapest arithmetic within the given errors.

    Args:
        balanced: the weights and their observed activations.
        file: receives the graph, its constants in `file`.data next to it.
        opset: of the ONNX domain.
        static_error: see `choose`.
        int8_error: see `choose`.

    Returns:
        Number of products per arithmetic, by its name.
    """
    weights = balanced.weights
    arithmetic = choose(
        balanced.observed, weights.sites, static_error=static_error, int8_error=int8_error
    )
    save_graph(weights.write(arithmetic, "int8", opset), file)
    return Counter(type(how).__name__ for how in arithmetic.values())


def write_fused(
    balanced: BalancedWeights,
    file: Path,
    opset: int,
    *,
    error: float,
    exits: ExitLayers | None = None,
) -> Mapping[str, int]:
    """Write the graph of hazgate-kernels' operators, its constants in `file`.data next to it.

    Its int8 weights equal those of `write_int8`, so a bundle with both stores them once.

    Args:
        balanced: the weights and their observed activations.
        file: receives the graph.
        opset: of the ONNX domain.
        error: beyond it a product's activations get 16 bits, see `choose_bits`.
        exits: where texts may leave; see `author.exits`.

    Returns:
        Number of products per number of bits, by its name.
    """
    weights = balanced.weights
    bits = choose_bits(balanced.observed, weights.sites, error=error)
    save_graph(weights.write_fused(bits, opset, exits), file)
    return {"8 bits": len(weights.sites) - len(bits), "16 bits": len(bits)}
