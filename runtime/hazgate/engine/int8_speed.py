"""Whether int8 is worth its rounding on this host: found by multiplying, not by the CPU's name.

ONNX Runtime picks its int8 kernels by what the processor has (AVX2, VNNI, AMX, dot products on
ARM). They gain from nothing to several-fold, so both arithmetics are timed once a process.
"""

import functools
import time
from typing import Any

import numpy as np

# A [64, 768] activation times a [768, 768] weight of ones, made by ConstantOfShape so that ONNX
# Runtime packs it when it loads, as it does with a model's. ONNX opset 18.
_FLOAT32 = bytes.fromhex(
    "080812003a91010a320a0173120177220f436f6e7374616e744f6653686170652a190a0576616c75652a0d08"
    "01100122040000803f420176a001040a110a01780a017712017922064d61744d756c1201672a190802100742"
    "01734a10000300000000000000030000000000005a140a0178120f0a0d080112090a0208400a030880066214"
    "0a0179120f0a0d080112090a0208400a0308800642040a001012"
)
_INT8 = bytes.fromhex(
    "080812003a95010a2f0a0173120177220f436f6e7374616e744f6653686170652a160a0576616c75652a0a08"
    "0110032a0101420176a001040a180a01780a0177120179220d4d61744d756c496e74656765721201672a1908"
    "0210074201734a10000300000000000000030000000000005a140a0178120f0a0d080212090a0208400a0308"
    "800662140a0179120f0a0d080612090a0208400a0308800642040a001012"
)
_SHAPE = (64, 768)
_N_ROUNDS = 9


@functools.cache
def int8_speedup(onnxruntime: Any) -> float:  # noqa: ANN401 - a module without type information
    """How many times as fast as in float32 a product of `onnxruntime` is in int8 here.

    The least times of interleaved rounds on one thread: some 20 ms, once a process.
    """
    runs = [
        (_session(onnxruntime, graph), {"x": np.ones(_SHAPE, dtype=dtype)})
        for graph, dtype in ((_FLOAT32, np.float32), (_INT8, np.uint8))
    ]
    rounds = [[_seconds(session, feeds) for session, feeds in runs] for _ in range(_N_ROUNDS)]
    float32_s, int8_s = (min(times) for times in zip(*rounds, strict=True))
    return float(float32_s / int8_s)


def _session(onnxruntime: Any, graph: bytes) -> Any:  # noqa: ANN401
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _seconds(session: Any, feeds: Any) -> float:  # noqa: ANN401
    began = time.perf_counter()
    session.run(None, feeds)
    return time.perf_counter() - began
