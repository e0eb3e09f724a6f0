"""What an ONNX graph consists of: operators, signature, and bytes by type."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, ValueInfoProto


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphSummary:
    """Operators by number of nodes, weights by element type in bytes, and the signature."""

    opset: int
    n_nodes: int
    operators: Mapping[str, int]
    weight_bytes: Mapping[str, int]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def summarise(file: Path) -> GraphSummary:
    """Reads a graph without its external weights.

    Raises:
        OSError: `file` cannot be read.
        google.protobuf.message.DecodeError: it is no ONNX file.
    """
    model = onnx.load(file, load_external_data=False)
    weight_bytes: Counter[str] = Counter()
    for tensor in model.graph.initializer:
        weight_bytes[TensorProto.DataType.Name(tensor.data_type).lower()] += _size_bytes(tensor)
    return GraphSummary(
        opset=next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        n_nodes=len(model.graph.node),
        operators=dict(Counter(_operator(node) for node in model.graph.node).most_common()),
        weight_bytes=dict(weight_bytes.most_common()),
        inputs={value.name: _shape(value) for value in model.graph.input},
        outputs={value.name: _shape(value) for value in model.graph.output},
    )


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def _size_bytes(tensor: TensorProto) -> int:
    n_elements = 1
    for dim in tensor.dims:
        n_elements *= dim
    return int(n_elements * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _shape(value: ValueInfoProto) -> str:
    kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    dims = [str(d.dim_param or d.dim_value) for d in value.type.tensor_type.shape.dim]
    return f"{kind}[{', '.join(dims)}]"
