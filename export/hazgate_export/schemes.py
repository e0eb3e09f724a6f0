"""The ways to make a graph and to compute it, and what each means."""

from collections.abc import Mapping
from typing import Literal

from hazgate.bundle.manifest import Batching, GraphKind
from hazgate.engine.providers.table import CPU

# What a recipe asks for: the third takes the portable graph where no authored one is known; "fused"
# consists of hazgate-kernels' operators.
GraphChoice = Literal["authored", "portable", "authored-or-portable", "fused"]

# "calibrated" is the authored graph's own, "per_token" the fused one's; the others are ONNX
# Runtime's, on the portable graph.
Int8Scheme = Literal["calibrated", "per_token", "dynamic", "blockwise"]
PortableInt8Scheme = Literal["dynamic", "blockwise"]

HalfPrecision = Literal["fp16", "bf16"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]

# Those that take a graph of plain operators in float32 or half.
GPUS = ("MIGraphXExecutionProvider", "ROCMExecutionProvider", "CUDAExecutionProvider")


def batching_of(scheme: Int8Scheme | None) -> Batching:
    """How the runtime may batch a variant; None is fp32 or half.

    fp32, half and blockwise quantisation compute each row by itself, to rounding. So does
    calibrated int8; but there the last bit of attention, which padding moves, is a step of 1/127
    once it is quantised, so texts share a run only with texts of their own length: bit by bit the
    same. Dynamic quantisation takes one scale for the whole batch. The fused graph computes tokens
    and no padding, each the same to the last bit wherever it stands.
    """
    ways: Mapping[Int8Scheme, Batching] = {
        "dynamic": "alone",
        "calibrated": "equal_length",
        "per_token": "packed",
    }
    return "padded" if scheme is None else ways.get(scheme, "padded")


def execution_providers_of(kind: GraphKind, precision: Precision) -> tuple[str, ...]:
    """The execution providers that a variant is for, by ONNX Runtime's names.

    Fused operators and int8 are the CPU's; plain operators suit a GPU as well. Half is for GPUs
    alone: ONNX Runtime's CPU has no products in bfloat16, and in fp16 casts around every product,
    some of whose roundings it leaves out, for many times the time of float32.
    """
    if kind != "portable" or precision == "int8":
        return (CPU,)
    return GPUS if precision in ("fp16", "bf16") else (CPU, *GPUS)
