"""Sessions of single operators of hazgate-kernels, and their expected results in float64."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.special import erf

Array = NDArray[np.float32]

INSTRUCTION_SETS = ("amx", "avx512vnni", "avxvnni", "avx2", "i8mm", "neon", "portable")
_VARIABLE = "HAZGATE_KERNELS_ISA"


@cache
def library(instruction_set: str) -> Path | None:
    """Return a copy of the library for that instruction set; None if this processor lacks it.

    A copy chooses when it is first loaded, so each copy has its own name.
    """
    import hazgate_kernels

    source = hazgate_kernels.library_path()
    copy = Path(mkdtemp(prefix="hazgate-kernels-")) / f"{instruction_set}{source.suffix}"
    shutil.copyfile(source, copy)
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = instruction_set
    try:
        onnxruntime.SessionOptions().register_custom_ops_library(str(copy))
    except Exception as error:
        if "instruction set" not in str(error):
            raise
        return None
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
    return copy


def session(
    library: Path,
    op_type: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    types: Mapping[str, int],
    constants: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, Any],
    *,
    threads: int = 2,
) -> onnxruntime.InferenceSession:
    """Return a session of one node.

    Args:
        library: library of the operators.
        op_type: operator of the node.
        inputs: their names, "" where one is left out.
        outputs: their names, all float32.
        types: element type of each input that is fed.
        constants: values of the other inputs.
        attributes: attributes of the node.
        threads: threads of the session.
    """
    graph = helper.make_graph(
        [helper.make_node(op_type, inputs, outputs, domain="hazgate", **attributes)],
        op_type,
        [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("hazgate", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@dataclass(frozen=True, kw_only=True)
class LinearCase:
    """A Linear and its optional inputs; None where an input is left out."""

    weights: Sequence[NDArray[np.int8]]
    scales: Sequence[Array]
    activation: int = 0
    norm_weight: Array | None = None
    norm_bias: Array | None = None
    balance: Array | None = None
    bias: Array | None = None
    has_residual: bool = False
    activation_bits: int = 8
    epsilon: float = 1e-5

    def session(self, library: Path, *, threads: int = 2) -> onnxruntime.InferenceSession:
        """Return a session of this node; the norm's result is its second output."""
        constants: dict[str, NDArray[Any]] = {}
        for i, (weight, scale) in enumerate(zip(self.weights, self.scales, strict=True)):
            constants[f"weight_{i}"], constants[f"scale_{i}"] = weight, scale
        matrices = list(constants)
        optional = {
            "norm_weight": self.norm_weight,
            "norm_bias": self.norm_bias,
            "balance": self.balance,
            "bias": self.bias,
        }
        constants |= {name: array for name, array in optional.items() if array is not None}
        names = [name if name in constants else "" for name in optional]
        residual = ["residual"] if self.has_residual else [""]
        return session(
            library,
            "Linear",
            ["x", *residual, *names, *matrices],
            ["y", "normed"] if self.norm_weight is not None else ["y"],
            dict.fromkeys(["x", *filter(None, residual)], TensorProto.FLOAT),
            constants,
            {
                "activation": self.activation,
                "activation_bits": self.activation_bits,
                "epsilon": self.epsilon,
            },
            threads=threads,
        )

    def normed(self, x: Array) -> NDArray[np.float64]:
        """Return the layer norm of `x`, or `x` if there is no norm."""
        rows = x.astype(np.float64)
        if self.norm_weight is None:
            return rows
        centred = rows - rows.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.epsilon)
        bias = 0.0 if self.norm_bias is None else self.norm_bias
        return np.asarray(centred / deviation * self.norm_weight + bias)

    def products(self, normed: Array) -> NDArray[np.float64]:
        """Return the products plus their bias for rows that are already normed.

        Values are rounded in float32, as in the operator; all that follows is float64. With 16
        bits nothing is rounded.
        """
        rows = normed if self.balance is None else normed * self.balance
        quantised = rows.astype(np.float64) if self.activation_bits == 16 else _quantised(rows)
        products = [
            quantised @ weight.astype(np.float64) * own
            for weight, own in zip(self.weights, self.scales, strict=True)
        ]
        y = np.concatenate(products, axis=-1)
        return np.asarray(y if self.bias is None else y + self.bias)

    def expected(self, normed: Array, residual: Array | None) -> NDArray[np.float64]:
        """Return the result for rows that are already normed."""
        y = self.products(normed)
        if self.activation:
            half = y.shape[-1] // 2
            first = y[..., :half] if self.activation == 2 else y
            gelu = 0.5 * first * (1 + erf(first / np.sqrt(2)))
            y = gelu * y[..., half:] if self.activation == 2 else gelu
        return np.asarray(y if residual is None else y + residual)


def _quantised(rows: Array) -> NDArray[np.float64]:
    """Return rows rounded to 8 bits, as values."""
    low = np.minimum(rows.min(axis=-1, keepdims=True), 0)
    span = np.maximum(rows.max(axis=-1, keepdims=True), 0) - low
    inverse = np.float32(255) / np.where(span > 0, span, np.float32(np.inf))
    zero = np.rint(-low * inverse)
    steps = np.clip(np.rint(rows * inverse) + zero, 0, 255).astype(np.float64) - zero
    return np.asarray(steps * (span.astype(np.float64) / 255))


@dataclass(frozen=True, kw_only=True)
class AttentionCase:
    """An Attention; `rotary` are cos and sin [positions, width / 2], `window` -1 is none."""

    n_heads: int = 1
    window: int = -1
    scale: float = 1.0
    rotary: tuple[Array, Array] | None = None

    def run(
        self, library: Path, qkv: Array, ends: Sequence[int], *, threads: int = 2
    ) -> NDArray[np.float32]:
        """Return the output of a session of this node."""
        tables = {} if self.rotary is None else dict(zip(("cos", "sin"), self.rotary, strict=True))
        node = session(
            library,
            "Attention",
            ["qkv", "ends", *tables],
            ["y"],
            {"qkv": TensorProto.FLOAT, "ends": TensorProto.INT64},
            tables,
            {"num_heads": self.n_heads, "window": self.window, "scale": self.scale},
            threads=threads,
        )
        (y,) = node.run(None, {"qkv": qkv, "ends": np.array(ends, dtype=np.int64)})
        return np.asarray(y)

    def expected(self, qkv: Array, ends: Sequence[int]) -> NDArray[np.float64]:
        """Return the expected output, computed text by text in float64."""
        width = qkv.shape[1] // 3 // self.n_heads
        texts = np.split(qkv.astype(np.float64), list(ends)[:-1])
        return np.concatenate(
            [
                _attend(
                    text.reshape(len(text), 3, self.n_heads, width),
                    self.window,
                    self.scale,
                    self.rotary,
                )
                for text in texts
            ]
        )


def _attend(
    text: NDArray[np.float64], window: int, scale: float, rotary: tuple[Array, Array] | None
) -> NDArray[np.float64]:
    n = len(text)
    queries, keys, values = text[:, 0], text[:, 1], text[:, 2]
    if rotary is not None:
        cos, sin = (table[:n, None].astype(np.float64) for table in rotary)
        queries, keys = (
            np.concatenate(
                [
                    x[..., : x.shape[-1] // 2] * cos - x[..., x.shape[-1] // 2 :] * sin,
                    x[..., x.shape[-1] // 2 :] * cos + x[..., : x.shape[-1] // 2] * sin,
                ],
                axis=-1,
            )
            for x in (queries, keys)
        )
    scores = np.einsum("ihd,jhd->hij", queries, keys) * scale
    if window >= 0:
        apart = np.abs(np.arange(n)[:, None] - np.arange(n))
        scores = np.where(apart <= window, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.asarray(np.einsum("hij,jhd->ihd", weights, values).reshape(n, -1))


def rotary_tables(positions: int, width: int) -> tuple[Array, Array]:
    """Return cos and sin, float32 [positions, width / 2]."""
    half = width // 2
    angles = np.arange(positions)[:, None] * 10_000.0 ** (-np.arange(half) / half)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
