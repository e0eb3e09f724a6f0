"""The ways to make a graph and to compute it, and the meaning of each."""

from collections.abc import Mapping
from typing import Literal

from hazgate.bundle.manifest import Batching, GraphKind
from hazgate.engine.providers.table import CPU

# A recipe's choice. The third takes the portable graph if no authored one is known; "fused" graphs
# consist of hazgate-kernels' operators.
GraphChoice = Literal["authored", "portable", "authored-or-portable", "fused"]

# "static" belongs to the authored graph, "per_token" to the fused one; the others are ONNX
# Runtime's, on the portable graph.
Int8Scheme = Literal["static", "per_token", "dynamic", "blockwise"]
PortableInt8Scheme = Literal["dynamic", "blockwise"]

HalfPrecision = Literal["fp16", "bf16"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]

# Providers that take a graph of plain operators in float32 or half.
GPUS = ("MIGraphXExecutionProvider", "ROCMExecutionProvider", "CUDAExecutionProvider")


def batching_of(scheme: Int8Scheme | None) -> Batching:
    """Tell how the runtime may batch a variant; None is fp32 or half.

    fp32, half and blockwise quantisation compute each row by itself, to rounding. So does static
    int8; but padding moves the last bit of attention, and quantisation makes that bit a step of
    1/127. So a text shares a run only with texts of its own length, which is exact to the bit.
    Dynamic quantisation takes one scale for the whole batch. The fused graph computes tokens
    without padding, each the same to the last bit at any position.
    """
    ways: Mapping[Int8Scheme, Batching] = {
        "dynamic": "alone",
        "static": "equal_length",
        "per_token": "packed",
    }
    return "padded" if scheme is None else ways.get(scheme, "padded")


def execution_providers_of(kind: GraphKind, precision: Precision) -> tuple[str, ...]:
    """List the execution providers that a variant is for, by ONNX Runtime's names.

    Fused operators and int8 are for the CPU; plain operators suit a GPU as well. Half is for GPUs
    only: ONNX Runtime's CPU has no products in bfloat16. In fp16 it casts around every product,
    skips some of the roundings, and takes many times as long as in float32.
    """
    if kind != "portable" or precision == "int8":
        return (CPU,)
    return GPUS if precision in ("fp16", "bf16") else (CPU, *GPUS)


def scheme_name(scheme: Int8Scheme | None) -> str:
    """Give the name of a scheme in bundle.json, whose words outlive those of recipes."""
    if scheme is None:
        return "none"
    return "calibrated" if scheme == "static" else scheme
