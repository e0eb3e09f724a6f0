"""Half precision for the large products of a portable graph, and for nothing else.

Products of text with weights and of text with text (queries with keys, probabilities with values)
take half factors and give half results. Weights and the embedding table are stored in half.
Operators that only move values leave them half. Everything else is float32: sums, norms, softmax,
GELU, and three kinds of product: those of the rotary tables, whose angles half cannot tell apart;
the pooling product, which would overflow on long texts; and the last, which gives the logits.

ONNX Runtime's own converter (onnxruntime/transformers/float16.py) can exclude nodes by name, but
it rounds between any two of them, and it turns a mask's -3.4e38 into -65504, which still adds up
to an infinity with a score.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from hazgate_export.graphs.portable import check, save
from hazgate_export.schemes import HalfPrecision, Precision

_TYPES: Mapping[HalfPrecision, int] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_NUMPY_TYPES: Mapping[int, Any] = {
    TensorProto.FLOAT16: np.float16,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
}
_PRODUCTS = ("MatMul", "Gemm")
# Exact in any type: they move values, add zeros, or turn the sign.
_MOVING = (
    "Concat",
    "Gather",
    "Identity",
    "Neg",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
# They give sizes, not values.
_SIZES = ("Shape", "Size")


def write_half(fp32: Path, half: Path, precision: HalfPrecision) -> None:
    """Write `fp32` with its large products in half, weights in `half`.data next to it.

    The signature stays as it is: int64 inputs, float32 logits.

    Raises:
        ValueError: no product could be halved, or a weight is beyond the type's range.
    """
    typed = onnx.shape_inference.infer_shapes(onnx.load(fp32, load_external_data=False))
    model = onnx.load(fp32)
    halve(model, float_values(typed), _TYPES[precision])
    save(model, half)
    check(half)


def float_values(typed: ModelProto) -> frozenset[str]:
    """Name the float32 values and weights of a model whose types have been inferred."""
    graph = typed.graph
    return frozenset(
        value.name
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    ) | frozenset(t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT)


def halve(model: ModelProto, floats: frozenset[str], half: int) -> None:
    """Halve `model` in place.

    Args:
        model: a portable graph with its weights loaded.
        floats: the names of its float32 values and weights.
        half: the ONNX element type, FLOAT16 or BFLOAT16.

    Raises:
        ValueError: see `write_half`.
    """
    graph = model.graph
    weights = {t.name: t for t in graph.initializer if t.name in floats}
    text = _made_from_text(model)
    last = _last_products(model)
    rewritten = _Rewritten(floats, weights, half)
    n_products = 0
    for node in graph.node:
        if node.op_type in _PRODUCTS and node.output[0] not in last:
            factors = set(node.input[:2]) & floats
            is_half = bool(factors & text) and factors <= text | set(weights)
            n_products += is_half
        elif node.op_type == "Gather" and node.input[0] in weights:
            is_half = node.input[1] in text
        else:
            is_half = node.op_type in _MOVING and rewritten.are_half(node.input)
        rewritten.add(node, is_half=is_half)
    if not n_products:
        raise ValueError("no product of this graph could be halved; use precision fp32")
    if any(rewritten.are_half([value.name]) for value in graph.output):
        raise ValueError("the graph's output would be half")
    del graph.node[:]
    graph.node.extend(rewritten.nodes)
    # They would contradict the new types.
    del graph.value_info[:]
    used = {name for node in graph.node for name in _reads(node)}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    cast = [_cast(weights[name], other, half) for name, other in rewritten.weights.items()]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *cast])


def write_twin(half: Path, twin: Path) -> None:
    """Write a float32 graph that rounds where the graph `half` does: to its type, and back.

    The twin answers like a processor that multiplies halves and adds in float32. ONNX Runtime's
    CPU does not: it has no product of bfloat16, and it leaves an fp16 product unrounded where
    float32 is wanted next. It does obey casts in the graph.

    Args:
        half: a graph written by `write_half`.
        twin: receives the graph, weights in `twin`.data next to it.
    """
    typed = onnx.shape_inference.infer_shapes(onnx.load(half, load_external_data=False))
    kinds = {value.name: value.type.tensor_type.elem_type for value in typed.graph.value_info}
    model = onnx.load(half)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        name = node.output[0]
        kind = kinds.get(name, TensorProto.FLOAT)
        nodes.append(node)
        if kind in _NUMPY_TYPES and node.op_type in (*_PRODUCTS, "Cast"):
            exact, rounded = f"{name}_exact", f"{name}_rounded"
            if node.op_type == "Cast":
                nodes.pop()
                exact = node.input[0]
            else:
                node.output[0] = exact
            nodes.append(helper.make_node("Cast", [exact], [rounded], to=kind))
            nodes.append(helper.make_node("Cast", [rounded], [name], to=TensorProto.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for tensor in model.graph.initializer:
        if tensor.data_type in _NUMPY_TYPES:
            values = np.asarray(numpy_helper.to_array(tensor), dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    save(model, twin)


@contextmanager
def runnable_here(graph: Path, precision: Precision) -> Iterator[Path]:
    """Give `graph`, or the CPU twin of a half graph, which is deleted at the end of the block."""
    if precision not in _TYPES:
        yield graph
        return
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder) / graph.name
        write_twin(graph, twin)
        yield twin


class _Rewritten:
    """The graph's nodes with casts between the types; each cast is made once, at its first use.

    A value keeps its name in the type in which it is made; in the other type it has a suffix.
    """

    def __init__(
        self, floats: frozenset[str], weights: Mapping[str, TensorProto], half: int
    ) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, str] = {}
        self._floats = floats
        self._stored = weights
        self._half = half
        self._half_values: set[str] = set()
        self._casts: set[str] = set()

    def are_half(self, names: Iterable[str]) -> bool:
        """Tell whether all floating-point values among `names` were made in half."""
        values = set(names) & self._floats
        return bool(values) and values <= self._half_values

    def add(self, node: NodeProto, *, is_half: bool) -> None:
        """Add the next node; with `is_half`, its float32 inputs and outputs become half."""
        inputs = [self._typed(name, is_half=is_half) for name in node.input]
        added = NodeProto()
        added.CopyFrom(node)
        added.input[:] = inputs
        for inner in _inner_nodes(added):
            inner.input[:] = [self._typed(name, is_half=False) for name in inner.input]
        self.nodes.append(added)
        if is_half:
            self._half_values |= set(node.output) & self._floats

    def _typed(self, name: str, *, is_half: bool) -> str:
        if name not in self._floats or (name in self._half_values) == is_half:
            return name
        other = f"{name}_half" if is_half else f"{name}_float"
        if name in self._stored:
            self.weights[name] = other
        elif other not in self._casts:
            kind = self._half if is_half else TensorProto.FLOAT
            self._casts.add(other)
            self.nodes.append(helper.make_node("Cast", [name], [other], name=other, to=kind))
        return other


def _cast(weight: TensorProto, name: str, half: int) -> TensorProto:
    dtype = _NUMPY_TYPES[half]
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(weight).astype(dtype)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{weight.name} has values beyond {np.dtype(dtype).name}; use bf16 or fp32"
        )
    return TensorProto(name=name, data_type=half, dims=weight.dims, raw_data=values.tobytes())


def _made_from_text(model: ModelProto) -> frozenset[str]:
    """Find the values that depend on the ids, not only on their number."""
    found = {"input_ids"}
    for node in model.graph.node:
        if node.op_type not in _SIZES and not found.isdisjoint(_reads(node)):
            found |= set(node.output)
    return frozenset(found)


def _last_products(model: ModelProto) -> frozenset[str]:
    """Find the products with no other product between them and the output."""
    producers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    seen: set[str] = set()
    names = [value.name for value in model.graph.output]
    while names:
        name = names.pop()
        if name in seen or name not in producers:
            continue
        seen.add(name)
        if producers[name].op_type in _PRODUCTS:
            found.add(name)
        else:
            names.extend(_reads(producers[name]))
    return frozenset(found)


def _reads(node: NodeProto) -> Iterator[str]:
    """Give the values that a node reads, including those that its branches read from outside."""
    yield from node.input
    for inner in _inner_nodes(node):
        yield from inner.input


def _inner_nodes(node: NodeProto) -> Iterator[NodeProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield inner
                yield from _inner_nodes(inner)
