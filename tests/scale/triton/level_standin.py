"""A level's graph in Triton's Python backend, where the server has no ONNX Runtime backend.

Same tensors and configuration, run by onnxruntime; for tests of who asks it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import onnxruntime
import triton_python_backend_utils as triton

# Without type information.
Request: TypeAlias = Any
Tensor: TypeAlias = Any


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        graph = Path(__file__).with_name("model.onnx")
        self._session = onnxruntime.InferenceSession(str(graph))

    def execute(self, requests: Sequence[Request]) -> list[Any]:
        return [triton.InferenceResponse([self._logits(request)]) for request in requests]

    def _logits(self, request: Request) -> Tensor:
        inputs = {
            name: triton.get_input_tensor_by_name(request, name).as_numpy()
            for name in ("input_ids", "attention_mask")
        }
        return triton.Tensor("logits", self._session.run(["logits"], inputs)[0])
