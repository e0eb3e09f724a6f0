"""Merged model to portable ONNX graph: plain operators, dynamic axes, two inputs, one output."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"

# Smaller tensors stay in the graph, where shape inference needs them.
EXTERNAL_BYTES = 1024


def export_onnx(model: PreTrainedModel, file: Path, opset: int) -> None:
    """Writes `model` as a portable graph with its weights in `file`.data beside it.

    Inputs are `input_ids` and `attention_mask`, int64 [batch, sequence]; the output is `logits`,
    float32 [batch, n_labels]. Segment ids, where a family has them, are zeros made inside.

    Raises:
        ValueError: the graph that came out has another signature or other than plain operators.
    """
    from optimum.exporters.onnx import onnx_export_from_model

    with tempfile.TemporaryDirectory(dir=file.parent) as folder, _quiet():
        onnx_export_from_model(
            model,
            folder,
            opset=opset,
            task="text-classification",
            do_validation=False,
            device="cpu",
        )
        graph = onnx.load(Path(folder) / "model.onnx")
    _name_axes(graph)
    _fix_segments(graph)
    save(graph, file)
    check(file)


def save(graph: onnx.ModelProto, file: Path) -> None:
    """Writes a graph with its large tensors in `file`.data."""
    data = file.with_name(file.name + ".data")
    data.unlink(missing_ok=True)
    onnx.save_model(
        graph,
        file,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data.name,
        size_threshold=EXTERNAL_BYTES,
    )


def check(file: Path) -> None:
    """Holds a portable graph against its contract.

    Raises:
        ValueError: wrong inputs, outputs or operators.
        onnx.checker.ValidationError: not a valid model.
        onnx.shape_inference.InferenceError: its shapes contradict each other.
    """
    onnx.checker.check_model(str(file), full_check=False)
    graph = onnx.load(file, load_external_data=False)
    onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True)
    inputs = tuple(value.name for value in graph.graph.input)
    outputs = tuple(value.name for value in graph.graph.output)
    if inputs != INPUTS or outputs != (OUTPUT,):
        raise ValueError(f"expected {INPUTS} -> {OUTPUT}, got {inputs} -> {outputs}")
    domains = {node.domain for node in graph.graph.node} - {"", "ai.onnx"}
    if domains:
        raise ValueError(f"expected plain ONNX operators, got the domains {sorted(domains)}")


def _name_axes(graph: onnx.ModelProto) -> None:
    for value in (*graph.graph.input, *graph.graph.output):
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param = "batch"
        if value.name != OUTPUT:
            dims[1].dim_param = "sequence"


def _fix_segments(graph: onnx.ModelProto) -> None:
    """Replaces the input `token_type_ids` by zeros of the shape of `input_ids`."""
    kept = [value for value in graph.graph.input if value.name != "token_type_ids"]
    if len(kept) == len(graph.graph.input):
        return
    del graph.graph.input[:]
    graph.graph.input.extend(kept)
    zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["token_type_shape"], name="token_type_shape"),
        helper.make_node(
            "ConstantOfShape",
            ["token_type_shape"],
            ["token_type_ids"],
            name="token_type_ids",
            value=zero,
        ),
        *graph.graph.node,
    ]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's notes on tracing off the terminal; parity is checked, not hoped for."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        transformers_logging.set_verbosity(verbosity)
