"""One layer's operators in sessions of one step each: ours, and ONNX Runtime's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hazgate.engine.session import session_options

# Of mmBERT-base, which is ModernBERT: arXiv 2412.13663, table 4.
HIDDEN, INTERMEDIATE, HEADS, REACH = 768, 1152, 12, 64
_WIDTH = HIDDEN // HEADS
_SEED = 3

StepKind = Literal["linear", "attention"]
_Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerStep:
    """One operator of a layer: `columns` per weight, `window` of its attention."""

    name: str
    title: str
    kind: StepKind
    depth: int = HIDDEN
    columns: tuple[int, ...] = ()
    has_norm: bool = False
    is_gated: bool = False
    has_residual: bool = False
    window: int | None = None

    def operations(self, tokens: int) -> float:
        """Count the multiplications and additions that it needs."""
        if self.kind == "linear":
            return 2.0 * tokens * self.depth * sum(self.columns)
        seen = _seen(tokens, self.window)
        return 4.0 * HIDDEN * seen

    def moved_bytes(self, tokens: int) -> float:
        """Count bytes of weights and activations, each once."""
        if self.kind == "attention":
            return 4.0 * tokens * 4 * HIDDEN
        out = sum(self.columns) // (2 if self.is_gated else 1)
        read = self.depth + (out if self.has_residual else 0)
        return self.depth * sum(self.columns) + 4.0 * tokens * (read + out)


STEPS = (
    LayerStep(
        name="qkv", title="norm, Q, K and V", kind="linear", columns=(HIDDEN,) * 3, has_norm=True
    ),
    LayerStep(name="global", title="attention, all tokens", kind="attention"),
    LayerStep(
        name="local",
        title="attention, 64 to each side (ONNX Runtime: all, masked)",
        kind="attention",
        window=REACH,
    ),
    LayerStep(
        name="out", title="output, residual", kind="linear", columns=(HIDDEN,), has_residual=True
    ),
    LayerStep(
        name="gated",
        title="norm, GeGLU",
        kind="linear",
        columns=(INTERMEDIATE,) * 2,
        has_norm=True,
        is_gated=True,
    ),
    LayerStep(
        name="down",
        title="down, residual",
        kind="linear",
        depth=INTERMEDIATE,
        columns=(HIDDEN,),
        has_residual=True,
    ),
)


def _seen(tokens: int, window: int | None) -> float:
    """Count pairs of a query and a key that it may see."""
    if window is None:
        return float(tokens) ** 2
    i = np.arange(tokens)
    last, first = np.minimum(i + window, tokens - 1), np.maximum(i - window, 0)
    return float((last - first + 1).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class Runnable:
    """A session and its inputs."""

    session: onnxruntime.InferenceSession
    feeds: Mapping[str, NDArray[Any]]

    def run(self) -> None:
        """Run the session once."""
        self.session.run(None, self.feeds)


def ours(step: LayerStep, tokens: int, threads: int) -> Runnable:
    """Return the step in hazgate-kernels' operator."""
    random = np.random.default_rng(_SEED)
    if step.kind == "attention":
        node = helper.make_node(
            "Attention",
            ["qkv", "ends", "cos", "sin"],
            ["y"],
            domain="hazgate",
            num_heads=HEADS,
            window=-1 if step.window is None else step.window,
            scale=0.125,
        )
        angles = np.arange(tokens)[:, None] * 1e4 ** (-np.arange(_WIDTH // 2) / (_WIDTH // 2))
        tables: _Arrays = {
            "cos": np.cos(angles).astype(np.float32),
            "sin": np.sin(angles).astype(np.float32),
        }
        feeds: _Arrays = {
            "qkv": random.normal(size=(tokens, 3 * HIDDEN)).astype(np.float32),
            "ends": np.array([tokens], dtype=np.int64),
        }
        return _runnable([node], feeds, tables, threads, "fused")
    constants: _Arrays = {}
    names: list[str] = []
    for i, (weight, scale) in enumerate(_weights(step, random)):
        constants |= {f"w{i}": weight, f"s{i}": scale}
        names += [f"w{i}", f"s{i}"]
    feeds = {"x": random.normal(size=(tokens, step.depth)).astype(np.float32)}
    if step.has_residual:
        feeds["residual"] = random.normal(size=(tokens, sum(step.columns))).astype(np.float32)
    if step.has_norm:
        constants["norm"] = np.ones(step.depth, dtype=np.float32)
    node = helper.make_node(
        "Linear",
        [
            "x",
            "residual" if step.has_residual else "",
            "norm" if step.has_norm else "",
            "",
            "",
            "",
            *names,
        ],
        ["y"],
        domain="hazgate",
        activation=2 if step.is_gated else 0,
        activation_bits=8,
        epsilon=1e-5,
    )
    return _runnable([node], feeds, constants, threads, "fused")


def chain(n_nodes: int, threads: int) -> Runnable:
    """Return a graph of `n_nodes` of our operators in sequence that compute nearly nothing."""
    constants: _Arrays = {"w": np.ones((1, 1), dtype=np.float32)}
    names = ["x", *(f"y{i}" for i in range(n_nodes - 1)), "y"]
    nodes = [
        helper.make_node("Dense", [source, "w"], [target], domain="hazgate", activation=0)
        for source, target in pairwise(names)
    ]
    return _runnable(nodes, {"x": np.ones((1, 1), dtype=np.float32)}, constants, threads, "fused")


def onnxruntimes(step: LayerStep, tokens: int, threads: int) -> Runnable:
    """Return the step in ONNX Runtime's operators, int8 with a fixed scale."""
    random = np.random.default_rng(_SEED)
    nodes: list[Any] = []
    if step.kind == "attention":
        feeds: _Arrays = {
            name: random.normal(size=(1, tokens, HIDDEN)).astype(np.float32) for name in "qkv"
        }
        constants: _Arrays = {}
        mask = []
        if step.window is not None:
            apart = np.abs(np.arange(tokens)[:, None] - np.arange(tokens))
            band = np.where(apart <= step.window, 0, -1e9).astype(np.float32)
            constants["band"] = band[None, None]
            mask = ["", "", "band"]
        nodes.append(
            helper.make_node(
                "MultiHeadAttention",
                ["q", "k", "v", *mask],
                ["y"],
                domain="com.microsoft",
                num_heads=HEADS,
                scale=0.125,
            )
        )
        return _runnable(nodes, feeds, constants, threads, "authored")
    constants = {
        "scale": np.array(0.03, dtype=np.float32),
        "zero": np.array(128, dtype=np.uint8),
    }
    feeds = {"x": random.normal(size=(tokens, step.depth)).astype(np.float32)}
    source = "x"
    if step.has_norm:
        constants["norm"] = np.ones(step.depth, dtype=np.float32)
        constants["shift"] = np.zeros(step.depth, dtype=np.float32)
        nodes.append(
            helper.make_node("LayerNormalization", ["x", "norm", "shift"], ["normed"], axis=-1)
        )
        source = "normed"
    nodes.append(helper.make_node("QuantizeLinear", [source, "scale", "zero"], ["q"]))
    products = []
    for i, (weight, scale) in enumerate(_weights(step, random)):
        constants |= {f"w{i}": weight, f"s{i}": scale}
        products.append(f"p{i}")
        nodes.append(
            helper.make_node(
                "MatMulIntegerToFloat",
                ["q", f"w{i}", "scale", f"s{i}", "zero"],
                [f"p{i}"],
                domain="com.microsoft",
            )
        )
    outputs = products
    if step.is_gated:
        nodes.append(helper.make_node("Gelu", ["p0"], ["gelu"], domain="com.microsoft"))
        nodes.append(helper.make_node("Mul", ["gelu", "p1"], ["y"]))
        outputs = ["y"]
    elif step.has_residual:
        feeds["residual"] = random.normal(size=(tokens, sum(step.columns))).astype(np.float32)
        nodes.append(helper.make_node("Add", ["residual", "p0"], ["y"]))
        outputs = ["y"]
    return _runnable(nodes, feeds, constants, threads, "authored", outputs)


def _weights(
    step: LayerStep, random: np.random.Generator
) -> list[tuple[NDArray[np.int8], NDArray[np.float32]]]:
    return [
        # As the exporter writes them: no two neighbours sum to more than 128.
        (
            random.integers(-64, 65, (step.depth, n)).astype(np.int8),
            np.full(n, 0.01, dtype=np.float32),
        )
        for n in step.columns
    ]


def _runnable(
    nodes: Sequence[Any],
    feeds: Mapping[str, NDArray[Any]],
    constants: Mapping[str, NDArray[Any]],
    threads: int,
    kind: Literal["fused", "authored"],
    outputs: Sequence[str] = ("y",),
) -> Runnable:
    graph = helper.make_graph(
        nodes,
        "step",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in feeds.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    domains = {"": 18, "com.microsoft": 1, "hazgate": 1}
    imports = [helper.make_opsetid(name, version) for name, version in domains.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(),
        session_options(onnxruntime, kind, threads),
        providers=["CPUExecutionProvider"],
    )
    return Runnable(session=session, feeds=feeds)
