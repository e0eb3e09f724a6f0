"""ONNX graphs with the signature of a classifier that answer whatever a test needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUTS = (("input_ids", TensorProto.INT64), ("attention_mask", TensorProto.INT64))
# What every supported onnxruntime reads.
_IR_VERSION = 9
_OPSET = 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """The inputs and outputs that a graph declares."""

    inputs: Sequence[tuple[str, int]] = INPUTS
    output: str = "logits"
    output_type: int = TensorProto.FLOAT
    output_shape: Sequence[str | int] | None = None
    extra_output: bool = False


def constant_graph(row: Sequence[float], signature: Signature | None = None) -> bytes:
    """A graph whose logits are `row` for every text."""
    says = signature or Signature()
    output_type = np.dtype(helper.tensor_dtype_to_np_dtype(says.output_type))
    shape = says.output_shape or ("batch", len(row))
    leading = ["one"] * (len(shape) - 2)
    nodes = [
        helper.make_node("Shape", [says.inputs[0][0]], ["n_rows"], start=0, end=1),
        helper.make_node("Concat", ["n_rows", *leading, "n_labels"], ["shape"], axis=0),
        helper.make_node("Expand", ["row", "shape"], [says.output]),
    ]
    constants = [
        constant("row", np.array([row], dtype=output_type)),
        constant("one", np.array([1], dtype=np.int64)),
        constant("n_labels", np.array([len(row)], dtype=np.int64)),
    ]
    outputs = [helper.make_tensor_value_info(says.output, says.output_type, shape)]
    if says.extra_output:
        nodes.append(helper.make_node("Identity", [says.output], ["more"]))
        outputs.append(helper.make_tensor_value_info("more", says.output_type, shape))
    return serialised(nodes, constants, outputs, says.inputs)


def one_row_graph(n_labels: int) -> bytes:
    """A graph that answers one row, whatever number of texts it is asked about."""
    nodes = [helper.make_node("Identity", ["row"], ["logits"])]
    constants = [constant("row", np.zeros((1, n_labels), dtype=np.float32))]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", n_labels))
    return serialised(nodes, constants, [output], INPUTS)


def lookup_graph(table: Sequence[Sequence[float]]) -> bytes:
    """A graph whose logits are the row of `table` at a text's first id; it fails beyond them."""
    nodes = [
        helper.make_node("Gather", ["input_ids", "first"], ["ids"], axis=1),
        helper.make_node("Gather", ["table", "ids"], ["logits"], axis=0),
    ]
    constants = [
        constant("table", np.array(table, dtype=np.float32)),
        constant("first", np.array(0, dtype=np.int64)),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", len(table[0])))
    return serialised(nodes, constants, [output], INPUTS)


def spotting_graph(table: Sequence[Sequence[float]]) -> bytes:
    """A graph whose logits are the greatest, label by label, of the table's rows of a text's ids.

    Padding, id 0, takes part like any other id.
    """
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("ReduceMax", ["rows", "sequence"], ["logits"], keepdims=0),
    ]
    constants = [
        constant("table", np.array(table, dtype=np.float32)),
        constant("sequence", np.array([1], dtype=np.int64)),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", len(table[0])))
    return serialised(nodes, constants, [output], INPUTS)


def tagging_graph(table: Sequence[Sequence[float]]) -> bytes:
    """A graph whose logits of each token are the row of `table` at the token's id."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)]
    constants = [constant("table", np.array(table, dtype=np.float32))]
    shape = ("batch", "sequence", len(table[0]))
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
    return serialised(nodes, constants, [output], INPUTS)


def conjunction_graph(n_ids: int, both: tuple[int, int]) -> bytes:
    """A graph whose second logit is the greater only where a text has both of two ids."""
    table = np.zeros((n_ids, 2), dtype=np.float32)
    table[both[0], 0] = table[both[1], 1] = 1.0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("ReduceMax", ["rows", "sequence"], ["found"], keepdims=0),
        helper.make_node("MatMul", ["found", "weights"], ["sums"]),
        helper.make_node("Add", ["sums", "bias"], ["logits"]),
    ]
    constants = [
        constant("table", table),
        constant("sequence", np.array([1], dtype=np.int64)),
        constant("weights", np.array([[0, 8], [0, 8]], dtype=np.float32)),
        constant("bias", np.array([12, 0], dtype=np.float32)),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 2))
    return serialised(nodes, constants, [output], INPUTS)


def constant(name: str, value: np.ndarray) -> onnx.TensorProto:
    """A constant of a graph."""
    return numpy_helper.from_array(value, name)


def serialised(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    outputs: Sequence[onnx.ValueInfoProto],
    inputs: Sequence[tuple[str, int]],
    more_inputs: Sequence[onnx.ValueInfoProto] = (),
) -> bytes:
    """A graph's bytes; `inputs` are of the shape [batch, sequence], `more_inputs` as they say."""
    graph = helper.make_graph(
        nodes,
        "test",
        [
            *(helper.make_tensor_value_info(n, kind, ["batch", "sequence"]) for n, kind in inputs),
            *more_inputs,
        ],
        outputs,
        constants,
    )
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
    content: bytes = model.SerializeToString()
    return content
