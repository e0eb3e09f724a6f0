"""Whether this host multiplies int8 exactly: found by multiplying, not by the processor's name.

ONNX Runtime's x86 kernels for u8 x s8 add neighbouring products in 16 bits that saturate, unless
the processor has VNNI or AMX (vpmaddubsw; onnxruntime/core/mlas). Its remedy, the session option
`session.x64quantprecision`, takes u8 x u8 kernels on every x86 processor, also where the fast ones
are exact, and these know neither VNNI nor AMX: several times slower there. So it must be asked for
just where it is needed.
"""

import functools
from typing import Any

import numpy as np

# One MatMulInteger of u8 [32, 64] and s8 [64, 32], ONNX opset 18.
_GRAPH = bytes.fromhex(
    "08083a5f0a180a01610a0162120179220d4d61744d756c496e74656765721204753873385a130a0161120e0a"
    "0c080212080a0208200a0208405a130a0162120e0a0c080312080a0208400a02082062130a0179120e0a0c08"
    "0612080a0208200a02082042040a001012"
)
_SHAPE_A, _SHAPE_B = (32, 64), (64, 32)


@functools.cache
def u8s8_saturates(onnxruntime: Any) -> bool:  # noqa: ANN401 - a module without type information
    """Whether `onnxruntime`'s default u8 x s8 kernels give wrong sums here; asked once a process.

    The largest values there are, so that any pair that can saturate does.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(_GRAPH, options, providers=["CPUExecutionProvider"])
    a = np.full(_SHAPE_A, 255, dtype=np.uint8)
    b = np.full(_SHAPE_B, 127, dtype=np.int8)
    (product,) = session.run(None, {"a": a, "b": b})
    return not np.array_equal(product, a.astype(np.int32) @ b.astype(np.int32))
