"""A graph as an execution provider is given it: dimensions fixed, basic optimisation done."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from hazgate.engine.providers.table import CPU
from hazgate.engine.session import load_onnxruntime
from hazgate.errors import BundleError
from hazgate_export.graphs.portable import EXTERNAL_BYTES, save


def provider_view(graph: Path, dimensions: Mapping[str, int]) -> ModelProto:
    """Make the graph that ONNX Runtime gives a provider that compiles whole graphs, weightless.

    Dimensions are fixed as the runtime fixes them, by name; a name that the graph does not have
    changes nothing. Where this machine's CPU has no kernel for a type, casts stand around a node
    that the provider would be given without them.

    Args:
        graph: the ONNX file.
        dimensions: sizes of its symbolic dimensions, by name.

    Returns:
        The graph with the types and shapes of its values, if ONNX can infer them.

    Raises:
        BundleError: `graph` cannot be opened.
    """
    model = onnx.load(graph, load_external_data=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The CPU opens no graph with bfloat16. Only its name is changed: no value matters here.
        is_renamed = _rename_type(model, TensorProto.BFLOAT16, TensorProto.FLOAT16)
        if is_renamed:
            renamed = onnx.load(graph)
            _rename_type(renamed, TensorProto.BFLOAT16, TensorProto.FLOAT16)
            save(renamed, folder / "renamed.onnx")
        view = _optimised(folder / "renamed.onnx" if is_renamed else graph, dimensions, folder)
    if is_renamed:
        _rename_type(view, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return onnx.shape_inference.infer_shapes(view, data_prop=True)


def _optimised(graph: Path, dimensions: Mapping[str, int], folder: Path) -> ModelProto:
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    for name, size in dimensions.items():
        options.add_free_dimension_override_by_name(name, size)
    options.optimized_model_filepath = str(folder / "view.onnx")
    for key, value in {
        "session.disable_prepacking": "1",
        "session.optimized_model_external_initializers_file_name": "view.bin",
        "session.optimized_model_external_initializers_min_size_in_bytes": str(EXTERNAL_BYTES),
    }.items():
        options.add_session_config_entry(key, value)
    try:
        ort.InferenceSession(str(graph), options, providers=[CPU], enable_fallback=False)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BundleError(f"{graph.name} cannot be opened: {error}") from error
    view = onnx.load(folder / "view.onnx", load_external_data=False)
    # ONNX Runtime lists every domain that this process has registered operators of, too.
    used = {"", *(node.domain for node in view.graph.node)}
    imports = [imported for imported in view.opset_import if imported.domain in used]
    del view.opset_import[:]
    view.opset_import.extend(imports)
    return view


def _rename_type(model: ModelProto, old: int, new: int) -> bool:
    """Rename a type in weights, constants and casts; tell whether it was there."""
    tensors = list(model.graph.initializer)
    is_found = False
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == old:
                attribute.i = new
                is_found = True
    for tensor in tensors:
        if tensor.data_type == old:
            tensor.data_type = new
            is_found = True
    return is_found


def symbolic_names(graph: Path) -> tuple[tuple[str, ...], ...]:
    """List the symbolic dimensions of a graph's inputs, by place; "" for a number.

    Raises:
        BundleError: `graph` is not an ONNX file.
    """
    try:
        model = onnx.load(graph, load_external_data=False)
    except DecodeError as error:
        raise BundleError(f"{graph} is not an ONNX file") from error
    return tuple(
        tuple(dim.dim_param for dim in value.type.tensor_type.shape.dim)
        for value in model.graph.input
    )
