"""Summary of an ONNX graph: operators, signature, and bytes by type."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, ValueInfoProto


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphSummary:
    """Operators by number of nodes, weights by element type in bytes, and the signature.

    `n_nodes` and `operators` include the nodes inside the branches of an `If`; a run takes one
    branch. `n_branch_nodes` counts those nodes.
    """

    opset: int
    n_nodes: int
    n_branch_nodes: int
    operators: Mapping[str, int]
    weight_bytes: Mapping[str, int]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def summarise(file: Path) -> GraphSummary:
    """Summarise a graph without reading its external weights.

    Raises:
        OSError: `file` cannot be read.
        google.protobuf.message.DecodeError: it is not an ONNX file.
    """
    model = onnx.load(file, load_external_data=False)
    nodes = list(_nodes(model.graph))
    weight_bytes: Counter[str] = Counter()
    for tensor in model.graph.initializer:
        weight_bytes[TensorProto.DataType.Name(tensor.data_type).lower()] += _size_bytes(tensor)
    return GraphSummary(
        opset=next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        n_nodes=len(nodes),
        n_branch_nodes=len(nodes) - len(model.graph.node),
        operators=dict(Counter(map(_operator, nodes)).most_common()),
        weight_bytes=dict(weight_bytes.most_common()),
        inputs={value.name: _shape(value) for value in model.graph.input},
        outputs={value.name: _shape(value) for value in model.graph.output},
    )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


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
