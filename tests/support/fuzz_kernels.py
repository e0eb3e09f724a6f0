"""Hostile graphs of the operators: `python -m tests.support.fuzz_kernels LIBRARY SEED COUNT`.

Each graph is a valid node in which some attributes, shapes, values or inputs were replaced. It may
give a result of the right shape or an error; anything else ends this process, above all what a
sanitizer finds. Prints how many graphs of each operator ran and were refused, as JSON.
"""

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper

Values = NDArray[Any]

_INTS = (-(2**63), -(2**31) - 1, -2, -1, 0, 1, 2, 3, 8, 1024, 1025, 2**31 - 1, 2**31, 2**62)
_HOSTILE_INTS = (*_INTS, 2**63 - 1, 2**63 - 2)
_HOSTILE_FLOATS = (0.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)
_SIZES = (0, 1, 2, 3, 4, 7, 8, 13, 16, 31, 33, 64, 65, 100)
_HUGE = (2**31, 2**40, 2**62, 2**63 - 1)
_REFUSED = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


@dataclass(kw_only=True, slots=True)
class _Node:
    """A node whose inputs are constants, fed or left out, in its operator's order."""

    op_type: str
    attributes: dict[str, Any]
    inputs: dict[str, Values]
    constants: set[str]
    left_out: set[str] = field(default_factory=set)
    # Shapes that a constant claims in place of its own.
    claimed: dict[str, list[int]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=lambda: ["y"])
    shape: tuple[int, ...] | None = None


class _Maker:
    """Draws nodes from one seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.numbers = np.random.default_rng(seed)

    def some(self, *shape: int) -> Values:
        return self.numbers.normal(size=shape).astype(np.float32)

    def maybe(self, likely: float = 0.5) -> bool:
        return self.draw.random() < likely

    def size(self) -> int:
        return self.draw.choice(_SIZES[1:])

    def ends(self, n_tokens: int) -> Values:
        n_texts = self.draw.randrange(1, 5)
        cuts = sorted(self.draw.randrange(n_tokens + 1) for _ in range(n_texts - 1))
        return np.array([*cuts, n_tokens], dtype=np.int64)

    def linear(self) -> _Node:
        depth = self.draw.choice([*_SIZES[1:], 384, 1000])
        activation = self.draw.choice([0, 0, 1, 2])
        n = self.size()
        columns = [n, n] if activation == 2 else [self.size() for _ in range(self.size() % 3 + 1)]
        out = n if activation == 2 else sum(columns)
        rows = self.draw.choice([0, 1, 2, 9, 31, 33, 70])
        inputs = {"x": self.some(rows, depth), "residual": self.some(rows, out)}
        optional = {
            "norm_weight": self.some(depth),
            "norm_bias": self.some(depth),
            "balance": self.some(depth),
            "bias": self.some(sum(columns)),
        }
        left_out = {name for name in ("residual", *optional) if self.maybe()}
        if "norm_weight" in left_out:
            left_out.add("norm_bias")
        for i, width in enumerate(columns):
            weight = self.numbers.integers(-128, 128, (depth, width)).astype(np.int8)
            optional |= {f"weight_{i}": weight, f"scale_{i}": self.some(width)}
        return _Node(
            op_type="Linear",
            attributes={
                "activation": activation,
                "activation_bits": 16 if activation == 0 and self.maybe() else 8,
                "epsilon": self.draw.choice([0.0, 1e-5]),
            },
            inputs=inputs | optional,
            constants=set(optional),
            left_out=left_out,
            outputs=["y", "normed"] if "norm_weight" not in left_out and self.maybe() else ["y"],
            shape=(rows, out),
        )

    def attention(self) -> _Node:
        n_heads, width = self.draw.choice([1, 2, 3]), 2 * self.draw.choice([1, 3, 8, 16, 33])
        n_tokens = self.draw.choice([0, 1, 5, 17, 65, 130, 530])
        positions = n_tokens + self.draw.randrange(3)
        inputs = {
            "qkv": self.some(n_tokens, 3 * n_heads * width),
            "ends": self.ends(n_tokens),
            "cos": self.some(positions, width // 2),
            "sin": self.some(positions, width // 2),
        }
        return _Node(
            op_type="Attention",
            attributes={
                "num_heads": n_heads,
                "window": self.draw.choice([-1, 0, 1, 5, 64, 1000, 2**63 - 1]),
                "scale": 0.3,
            },
            inputs=inputs,
            constants={"cos", "sin"} if self.maybe() else set(),
            left_out=set() if self.maybe() else {"cos", "sin"},
            shape=(n_tokens, n_heads * width),
        )

    def mean(self) -> _Node:
        n_tokens, width = self.draw.choice([0, 1, 5, 300, 600]), self.size()
        ends = self.ends(n_tokens)
        return _Node(
            op_type="Mean",
            attributes={"epsilon": 1e-5},
            inputs={"x": self.some(n_tokens, width), "ends": ends, "weight": self.some(width)},
            constants={"weight"},
            left_out=set() if self.maybe() else {"weight"},
            shape=(len(ends), width),
        )

    def dense(self) -> _Node:
        rows, depth, columns = (self.draw.choice(_SIZES) for _ in range(3))
        return _Node(
            op_type="Dense",
            attributes={"activation": self.draw.choice([0, 1])},
            inputs={
                "x": self.some(rows, depth),
                "weight": self.some(depth, columns),
                "bias": self.some(columns),
            },
            constants={"weight", "bias"} if self.maybe() else set(),
            left_out=set() if self.maybe() else {"bias"},
            shape=(rows, columns),
        )

    def spoil(self, node: _Node) -> None:
        """Replace one thing of a node."""
        name = self.draw.choice(list(node.inputs))
        values = node.inputs[name]
        kinds: list[Callable[[], None]] = [
            lambda: self._spoil_attribute(node),
            lambda: self._spoil_attribute(node),
            lambda: node.inputs.update({name: self._reshaped(values)}),
            lambda: node.inputs.update({name: self._with_values(values)}),
            lambda: node.left_out.symmetric_difference_update({name}),
            lambda: node.constants.symmetric_difference_update({name}),
            lambda: node.inputs.update({name: values.astype(np.float64)}),
            lambda: self._claim(node, name),
            lambda: setattr(node, "outputs", self.draw.choice([[""], ["", "y"], ["y", "normed"]])),
        ]
        self.draw.choice(kinds)()
        node.shape = None

    def _spoil_attribute(self, node: _Node) -> None:
        if not node.attributes:
            return
        name = self.draw.choice(list(node.attributes))
        if self.maybe(0.1):
            del node.attributes[name]
        elif self.maybe(0.1):
            node.attributes[name] = self.draw.choice(["text", 0.5, 7, [1, 2]])
        elif isinstance(node.attributes[name], int):
            node.attributes[name] = self.draw.choice(_HOSTILE_INTS)
        else:
            node.attributes[name] = float(self.draw.choice(_HOSTILE_FLOATS))

    def _reshaped(self, values: Values) -> Values:
        shape = list(values.shape)
        if self.maybe(0.2):
            shape = [self.draw.choice(_SIZES) for _ in range(self.draw.randrange(4))]
        elif shape:
            shape[self.draw.randrange(len(shape))] = self.draw.choice(_SIZES)
        if len(shape) > 1 and self.maybe(0.1):
            shape[-1], shape[0] = 0, self.draw.choice([3, 2**40])
        if not (values.size and np.prod(shape)):
            return np.zeros(shape, values.dtype)
        resized: Values = np.resize(values, shape)
        return resized

    def _with_values(self, values: Values) -> Values:
        changed: Values = values.copy()
        if not changed.size:
            return changed
        hostile = _HOSTILE_FLOATS if values.dtype == np.float32 else _HOSTILE_INTS
        for _ in range(self.draw.randrange(1, 4)):
            at = self.draw.randrange(changed.size)
            with np.errstate(all="ignore"):
                value = np.array(self.draw.choice(hostile)).astype(changed.dtype)
            changed.reshape(-1)[at] = value
        return changed

    def _claim(self, node: _Node, name: str) -> None:
        node.constants.add(name)
        shape = [self.draw.choice((*_HUGE, *_SIZES)) for _ in range(self.draw.randrange(1, 4))]
        if self.maybe(0.7):
            shape[self.draw.randrange(len(shape))] = 0
            node.inputs[name] = np.zeros(0, node.inputs[name].dtype)
        node.claimed[name] = shape


def _model(node: _Node) -> bytes:
    names = ["" if name in node.left_out else name for name in node.inputs]
    while names and not names[-1]:
        names.pop()
    made = helper.make_node(node.op_type, names, node.outputs, domain="hazgate")
    for name, value in node.attributes.items():
        attribute = (
            AttributeProto(name=name, type=AttributeProto.FLOAT, f=value)
            if isinstance(value, float)
            else helper.make_attribute(name, value)
        )
        made.attribute.append(attribute)
    fed, constants = [], []
    for name in filter(None, names):
        values = node.inputs[name]
        if name not in node.constants:
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            fed.append(helper.make_tensor_value_info(name, kind, None))
            continue
        constant = numpy_helper.from_array(values, name)
        if name in node.claimed:
            constant.dims[:] = node.claimed[name]
        constants.append(constant)
    shown = [name for name in node.outputs if name]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in shown]
    graph = helper.make_graph([made], "fuzz", fed, outputs, constants)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("hazgate", 1)]
    model: bytes = helper.make_model(
        graph, opset_imports=imports, ir_version=10
    ).SerializeToString()
    return model


def _run(library: Path, node: _Node, threads: int) -> str:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Each tensor has memory of its own, and a sanitizer sees its end.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.register_custom_ops_library(str(library))
    try:
        session = onnxruntime.InferenceSession(
            _model(node), options, providers=["CPUExecutionProvider"]
        )
        feeds = {each.name: node.inputs[each.name] for each in session.get_inputs()}
        y = session.run(None, feeds)[0]
    except _REFUSED as error:
        sys.stderr.write(f"refused: {str(error)[:300]}\n")
        return "refused"
    assert node.shape is None or y.shape == node.shape, (node.op_type, y.shape, node.shape)
    return "ran"


def main() -> None:
    """Run COUNT graphs of a seed."""
    library, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    maker = _Maker(seed)
    seen: Counter[str] = Counter()
    for i in range(count):
        make = (maker.linear, maker.attention, maker.mean, maker.dense)[i % 4]
        node = make()
        n_spoilt = maker.draw.choice([0, 1, 1, 1, 2, 3])
        for _ in range(n_spoilt):
            maker.spoil(node)
        # Whatever ends this process: this graph did it.
        sys.stderr.write(f"graph {i} of seed {seed}: {node.op_type} {node.attributes}\n")
        outcome = _run(library, node, threads=maker.draw.choice([1, 2]))
        assert n_spoilt or outcome == "ran", f"a valid graph was refused: {node}"
        seen[f"{node.op_type} {outcome}"] += 1
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
