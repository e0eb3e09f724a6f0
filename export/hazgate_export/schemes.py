"""The ways to make a graph and to compute it in int8, and what each means. Loads no library."""

from typing import Literal

from hazgate.manifest import Batching

# What a recipe asks for: the third takes the portable graph where no authored one is known.
GraphChoice = Literal["authored", "portable", "authored-or-portable"]

# "calibrated" is the authored graph's own; the others are ONNX Runtime's, on the portable graph.
Int8Scheme = Literal["calibrated", "dynamic", "blockwise"]
PortableInt8Scheme = Literal["dynamic", "blockwise"]


def batching_of(scheme: Int8Scheme | None) -> Batching:
    """How the runtime may batch a variant; None is fp32.

    fp32 and blockwise quantisation compute each row by itself, to rounding. So does calibrated
    int8; but there the last bit of attention, which padding moves, is a step of 1/127 once it is
    quantised, so texts share a run only with texts of their own length: bit by bit the same.
    Dynamic quantisation takes one scale for the whole batch.
    """
    if scheme == "dynamic":
        return "alone"
    return "equal_length" if scheme == "calibrated" else "padded"
