"""What int8 gains on a processor is measured, once, in both arithmetics."""

import time
from collections.abc import Iterator
from types import ModuleType

import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from hazgate.engine import int8_speed
from hazgate.engine.int8_speed import int8_speedup


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    int8_speedup.cache_clear()
    yield
    int8_speedup.cache_clear()


@pytest.mark.parametrize(
    ("graph", "operator", "kinds"),
    [
        (int8_speed._FLOAT32, "MatMul", (TensorProto.FLOAT, TensorProto.FLOAT)),
        (int8_speed._INT8, "MatMulInteger", (TensorProto.UINT8, TensorProto.INT8)),
    ],
)
def test_the_probes_multiply_the_types_of_the_models(
    graph: bytes, operator: str, kinds: tuple[int, int]
) -> None:
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    weight, product = model.graph.node
    value = weight.attribute[0].t
    assert (product.op_type, product.input[1]) == (operator, weight.output[0])
    assert (model.graph.input[0].type.tensor_type.elem_type, value.data_type) == kinds


def test_the_real_kernels_give_a_speed() -> None:
    assert int8_speedup(onnxruntime) > 0


class _Scripted:
    """An onnxruntime whose products take as long as they are told."""

    def __init__(self, float32_s: float, int8_s: float) -> None:
        self.now_s = 0.0
        self.opened = 0
        self.module = ModuleType("onnxruntime")

        def open_session(graph: bytes, *_: object, **__: object) -> "_Scripted._Session":
            self.opened += 1
            return self._Session(self, int8_s if graph == int8_speed._INT8 else float32_s)

        vars(self.module).update(
            SessionOptions=onnxruntime.SessionOptions, InferenceSession=open_session
        )

    class _Session:
        def __init__(self, clock: "_Scripted", seconds: float) -> None:
            self._clock, self._seconds = clock, seconds

        def run(self, *_: object) -> None:
            self._clock.now_s += self._seconds


@pytest.mark.parametrize(("float32_s", "int8_s", "ratio"), [(3.0, 1.5, 2.0), (1.0, 4.0, 0.25)])
def test_it_is_the_ratio_of_the_two_times(
    monkeypatch: pytest.MonkeyPatch, float32_s: float, int8_s: float, ratio: float
) -> None:
    scripted = _Scripted(float32_s, int8_s)
    monkeypatch.setattr(time, "perf_counter", lambda: scripted.now_s)

    assert int8_speedup(scripted.module) == pytest.approx(ratio)


def test_a_process_measures_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = _Scripted(1.0, 1.0)
    monkeypatch.setattr(time, "perf_counter", lambda: scripted.now_s)

    int8_speedup(scripted.module)
    int8_speedup(scripted.module)

    assert scripted.opened == 2
