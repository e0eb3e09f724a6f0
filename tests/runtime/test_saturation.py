"""int8 products are exact on every processor, and only where that takes it by slower kernels."""

from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import hazgate.saturation as saturation
from hazgate.saturation import u8s8_saturates
from hazgate.session import CPU, OrtSession

N_TOKENS = 64


def _int8_graph() -> bytes:
    """Logits are the exact sums of the ids, as u8, with 127 and with -127."""
    weights = np.stack([np.full(N_TOKENS, 127), np.full(N_TOKENS, -127)], axis=1).astype(np.int8)
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["u8"], to=TensorProto.UINT8),
        helper.make_node("MatMulInteger", ["u8", "weights"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["mask", "axes"], ["ones"], keepdims=1),
        helper.make_node("Mul", ["float", "ones"], ["logits"]),
    ]
    sides = ["batch", "sequence"]
    graph = helper.make_graph(
        nodes,
        "int8",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, sides)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("n_rows", [1, 2, 17])
def test_a_session_multiplies_int8_exactly_on_this_processor(tmp_path: Path, n_rows: int) -> None:
    file = tmp_path / "graph.onnx"
    file.write_bytes(_int8_graph())
    session = OrtSession(file, n_labels=2, provider=CPU, threads=2)
    ids = np.full((n_rows, N_TOKENS), 255, dtype=np.int64)

    logits = session.run(ids, np.ones_like(ids))

    exact = N_TOKENS * 255 * 127
    np.testing.assert_array_equal(logits, [[exact, -exact]] * n_rows)


class _Session:
    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, *_: object, **__: object) -> "_Session":
        return self

    def run(self, _: object, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Sums of pairs that stop at `most`, as vpmaddubsw adds them."""
        pairs = np.minimum(2 * 255 * 127, self._most)
        n_pairs = feeds["a"].shape[1] // 2
        return [np.full((len(feeds["a"]), feeds["b"].shape[1]), n_pairs * pairs, dtype=np.int32)]


@pytest.mark.parametrize(("most", "saturates"), [(2**15 - 1, True), (2**31 - 1, False)])
def test_saturating_sums_are_told_from_exact_ones(most: int, *, saturates: bool) -> None:
    fake = ModuleType("onnxruntime")
    vars(fake).update(SessionOptions=onnxruntime.SessionOptions, InferenceSession=_Session(most))
    assert u8s8_saturates(fake) is saturates


def test_the_probe_multiplies_the_types_in_question() -> None:
    model = onnx.load_from_string(saturation._GRAPH)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMulInteger"]
    kinds = [value.type.tensor_type.elem_type for value in model.graph.input]
    assert kinds == [TensorProto.UINT8, TensorProto.INT8]
