"""The engines, and what the benchmark needs of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines.workloads import EngineWorkload

EngineKind = Literal[
    "pytorch", "pytorch-compile", "onnxruntime", "openvino", "hazgate", "hazgate-fused"
]

REFERENCE = "pytorch"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSpec:
    """One engine; `file` is the model in its form.

    `is_int8` engines are compared with one another. `size_bytes` is the model's size on disk.
    An engine with several `workers` runs as many batches at a time and divides its threads among
    them.
    """

    name: str
    title: str
    kind: EngineKind
    file: str
    is_int8: bool
    size_bytes: int
    workers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSetup:
    """A worker's first request: the engine, and all that it will be asked about.

    `rows` are the tokenised texts on which answers are compared.
    """

    engine: EngineSpec
    threads: int
    vocab_size: int
    workloads: tuple[EngineWorkload, ...]
    rows: tuple[tuple[int, ...], ...]


class EngineRun(Protocol):
    """A loaded model."""

    def __call__(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return logits [batch, n_labels] of arrays [batch, sequence]."""
        ...


def open_engine(spec: EngineSpec, threads: int) -> EngineRun:
    """Load an engine that uses at most `threads` threads; call once per process."""
    openers: dict[EngineKind, Callable[[EngineSpec, int], EngineRun]] = {
        "pytorch": _pytorch,
        "pytorch-compile": _pytorch_compiled,
        "onnxruntime": _onnxruntime,
        "openvino": _openvino,
        "hazgate": _hazgate,
        "hazgate-fused": _hazgate,
    }
    return openers[spec.kind](spec, max(1, threads // spec.workers))


def _pytorch(spec: EngineSpec, threads: int) -> EngineRun:
    import torch

    torch.set_num_interop_threads(1)
    return _module_runner(_module(spec, threads))


def _pytorch_compiled(spec: EngineSpec, threads: int) -> EngineRun:
    import torch

    return _module_runner(torch.compile(_module(spec, threads), dynamic=True))


def _module(spec: EngineSpec, threads: int) -> Callable[..., object]:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    model: Callable[..., object] = AutoModelForSequenceClassification.from_pretrained(
        spec.file, attn_implementation="sdpa", dtype=torch.float32, local_files_only=True
    ).eval()
    return model


def _module_runner(module: Callable[..., object]) -> EngineRun:
    import torch

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            output = module(
                input_ids=torch.from_numpy(input_ids),
                attention_mask=torch.from_numpy(attention_mask),
            )
        logits: NDArray[np.float32] = output.logits.numpy()  # type: ignore[attr-defined]
        return logits

    return run


def _onnxruntime(spec: EngineSpec, threads: int) -> EngineRun:
    """Open a plain session, as Optimum's ORTModel does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(spec.file, options, providers=["CPUExecutionProvider"])

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        (logits,) = session.run(None, feeds)
        return np.asarray(logits, dtype=np.float32)

    return run


def _openvino(spec: EngineSpec, threads: int) -> EngineRun:
    import openvino

    model = openvino.Core().compile_model(
        spec.file,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # OpenVINO would use bfloat16 without being asked, on processors that have it.
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = model.create_infer_request()

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        result = request.infer({"input_ids": input_ids, "attention_mask": attention_mask})
        return np.array(result[0], dtype=np.float32)

    return run


def _hazgate(spec: EngineSpec, threads: int) -> EngineRun:
    """Open the runtime's own session, with its own options and checks."""
    import onnx

    from hazgate.engine.session import OrtSession

    graph = onnx.load(spec.file, load_external_data=False).graph
    n_labels = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    session = OrtSession(
        Path(spec.file),
        kind="fused" if spec.kind == "hazgate-fused" else "authored",
        n_labels=n_labels,
        threads=threads,
    )
    return session.run
