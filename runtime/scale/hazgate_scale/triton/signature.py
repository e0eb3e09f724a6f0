"""Check of a level's configuration against its graph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from hazgate.documents.problems import list_problems
from hazgate.errors import BundleError
from hazgate_scale.triton.messages import ModelConfig, messages

_TYPES = {
    onnx.TensorProto.INT64: "TYPE_INT64",
    onnx.TensorProto.FLOAT: "TYPE_FP32",
}


def check_signature(config: ModelConfig, graph: Path) -> None:
    """Check that a configuration has the graph's tensors, as Triton does when it loads.

    Raises:
        BundleError: they differ; names every difference.
    """
    try:
        model = onnx.load(graph, load_external_data=False)
    except DecodeError as error:
        raise BundleError(f"{graph.name} is not an ONNX file") from error
    problems = [
        *_differences("input", config.input, model.graph.input),
        *_differences("output", config.output, model.graph.output),
    ]
    if problems:
        raise BundleError(
            f"{graph.name} does not match its configuration for Triton:{list_problems(problems)}"
        )


def _differences(kind: str, told: Any, values: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield differences in names, element types, the free batch axis and other axes."""
    own = {value.name: value.type.tensor_type for value in values}
    if set(own) != {tensor.name for tensor in told}:
        yield f"{kind}s are {sorted(own)}, not {sorted(tensor.name for tensor in told)}"
        return
    for tensor in told:
        found = own[tensor.name]
        data_type = messages().DataType.Name(tensor.data_type)
        if _TYPES.get(found.elem_type) != data_type:
            element = onnx.TensorProto.DataType.Name(found.elem_type)
            yield f"{kind} {tensor.name} is of {element}, not {data_type}"
        dims = [dim.dim_value or -1 for dim in found.shape.dim]
        # The configuration may fix a free axis of the graph; a fixed axis must match.
        fits = len(dims) == 1 + len(tensor.dims) and dims[0] == -1
        if not fits or any(d not in (-1, t) for d, t in zip(dims[1:], tensor.dims, strict=True)):
            yield f"{kind} {tensor.name} has the shape {dims}, not {[-1, *tensor.dims]}"
