"""The best rate of this machine's matrix kernels, measured through ONNX Runtime.

    python -m benchmarks.engines.peak --threads 2

No graph that runs on these kernels can be faster.
"""

import json
from collections.abc import Mapping

import click
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.harness.process import run_once
from benchmarks.harness.stopwatch import median_seconds

# A layer's largest product at 1,024 tokens.
_SHAPE = (1024, 768, 2304)
_CALLS = 25


def measure_peak(threads: int) -> Mapping[str, float]:
    """Return operations per second of one large product by precision, from a child process.

    Raises:
        WorkerFailed: the child failed.
    """
    return run_once("peak", ["-m", "benchmarks.engines.peak", "--threads", str(threads)])


@click.command()
@click.option("--threads", type=click.IntRange(min=1), required=True)
def peak(threads: int) -> None:
    """Print operations per second of one large product in fp32 and in int8, as JSON."""
    click.echo(json.dumps({"fp32": _measure("MatMul", threads), "int8": _measure("int8", threads)}))


def _measure(kind: str, threads: int) -> float:
    m, k, n = _SHAPE
    random = np.random.default_rng(0)
    if kind == "int8":
        weight = random.integers(-127, 127, size=(k, n)).astype(np.int8)
        node = helper.make_node("MatMulInteger", ["x", "w", "z"], ["y"])
        kinds = (TensorProto.UINT8, TensorProto.INT32)
        x = random.integers(0, 255, size=(m, k)).astype(np.uint8)
    else:
        weight = random.normal(size=(k, n)).astype(np.float32)
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        kinds = (TensorProto.FLOAT, TensorProto.FLOAT)
        x = random.normal(size=(m, k)).astype(np.float32)
    graph = helper.make_graph(
        [node],
        "peak",
        [helper.make_tensor_value_info("x", kinds[0], [m, k])],
        [helper.make_tensor_value_info("y", kinds[1], [m, n])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.array(128, dtype=np.uint8), "z"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return 2 * m * k * n / median_seconds(lambda: session.run(None, {"x": x}), _CALLS)


if __name__ == "__main__":
    peak()
