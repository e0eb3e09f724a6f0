"""The architectures that have a CPU graph of their own, and the ways to write one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from transformers import PretrainedConfig, PreTrainedModel

from hazgate_export.author.choose import choose, choose_bits
from hazgate_export.author.fused import Bits
from hazgate_export.author.graph import save_graph
from hazgate_export.author.linear import Float32
from hazgate_export.author.models import bert, modernbert
from hazgate_export.author.models.bert_fused import write_bert_fused
from hazgate_export.author.models.modernbert_fused import write_modernbert_fused
from hazgate_export.author.observe import Observed, observe
from hazgate_export.errors import UnsupportedArchitecture

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Family(Generic[W]):
    """How to read, balance and write one architecture; see `modernbert` for each function."""

    read: Callable[[torch.nn.Module, PretrainedConfig], W]
    sites: Callable[[W], Mapping[str, Sequence[NDArray[np.float32]]]]
    smooth: Callable[[W, Mapping[str, Observed]], tuple[W, dict[str, Observed]]]
    write: Callable[..., ir.Model]
    write_fused: Callable[[W, Mapping[str, Bits], int], ir.Model]


FAMILIES: Mapping[str, Family[Any]] = {
    "bert": Family(bert.read_bert, bert.sites, bert.smooth, bert.write_bert, write_bert_fused),
    "modernbert": Family(
        modernbert.read_modernbert,
        modernbert.sites,
        modernbert.smooth,
        modernbert.write_modernbert,
        write_modernbert_fused,
    ),
}


@dataclass(frozen=True, slots=True)
class Weights(Generic[W]):
    """A merged model's weights as its family arranges them."""

    family: Family[W]
    weights: W


@dataclass(frozen=True, slots=True)
class Calibrated(Generic[W]):
    """Weights balanced for int8, and the activations that were seen at every site."""

    family: Family[W]
    weights: W
    observed: Mapping[str, Observed]


def read_weights(model: PreTrainedModel) -> Weights[Any]:
    """The weights of a merged model.

    Raises:
        UnsupportedArchitecture: no graph of ours is this model; says which fields differ.
    """
    config = model.config
    if config.model_type not in FAMILIES:
        raise UnsupportedArchitecture(
            config.model_type, [f"model_type: expected one of {', '.join(FAMILIES)}"]
        )
    family = FAMILIES[config.model_type]
    return Weights(family, family.read(model, config))


def write_fp32(weights: Weights[Any], file: Path, opset: int) -> None:
    """Writes the graph in float32, its constants in `file`.data beside it."""
    family = weights.family
    save_graph(
        family.write(
            weights.weights,
            dict.fromkeys(family.sites(weights.weights), Float32()),
            "float32",
            opset,
        ),
        file,
    )


def calibrate(
    weights: Weights[Any],
    texts: Sequence[Sequence[int]],
    opset: int,
    folder: Path,
    *,
    threads: int,
) -> Calibrated[Any]:
    """Runs texts through the float32 graph, then balances its weights by what was seen.

    Args:
        weights: of the model.
        texts: ids of each, special tokens included.
        opset: of the ONNX domain.
        folder: receives a graph for the time of the call.
        threads: intra-op threads.
    """
    family = weights.family
    every = dict.fromkeys(family.sites(weights.weights), Float32())
    file = folder / "calibration.onnx"
    save_graph(family.write(weights.weights, every, "float32", opset, expose=True), file)
    try:
        inputs = [np.array([ids], dtype=np.int64) for ids in texts]
        observed = observe(file, inputs, threads=threads)
    finally:
        file.unlink()
        file.with_name(file.name + ".data").unlink()
    return Calibrated(family, *family.smooth(weights.weights, observed))


def write_int8(
    calibrated: Calibrated[Any], file: Path, opset: int, *, static_error: float, int8_error: float
) -> Mapping[str, int]:
    """Writes the graph in int8, every product in the cheapest arithmetic within the errors given.

    Args:
        calibrated: the weights and what was seen of them.
        file: receives the graph, its constants in `file`.data beside it.
        opset: of the ONNX domain.
        static_error: see `choose`.
        int8_error: see `choose`.

    Returns:
        How many products got which arithmetic, by its name.
    """
    family = calibrated.family
    sites = family.sites(calibrated.weights)
    arithmetic = choose(
        calibrated.observed, sites, static_error=static_error, int8_error=int8_error
    )
    save_graph(family.write(calibrated.weights, arithmetic, "int8", opset), file)
    return Counter(type(how).__name__ for how in arithmetic.values())


def write_fused(
    calibrated: Calibrated[Any], file: Path, opset: int, *, error: float
) -> Mapping[str, int]:
    """Writes the graph of hazgate-kernels' operators, its constants in `file`.data beside it.

    Its int8 weights are those of `write_int8`, so a bundle with both stores them once.

    Args:
        calibrated: the weights and what was seen of them.
        file: receives the graph.
        opset: of the ONNX domain.
        error: beyond it a product's activations get 16 bits, see `choose_bits`.

    Returns:
        How many products got how many bits, by their name.
    """
    family = calibrated.family
    sites = family.sites(calibrated.weights)
    bits = choose_bits(calibrated.observed, sites, error=error)
    save_graph(family.write_fused(calibrated.weights, bits, opset), file)
    return {"8 bits": len(sites) - len(bits), "16 bits": len(bits)}
