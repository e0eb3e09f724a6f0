"""Weights that graphs have in common lie on disk once; the graphs still answer the same."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hazgate_export.graphs.inspect_graph import summarise
from hazgate_export.graphs.portable import check, save
from hazgate_export.graphs.quantize import quantize_int8
from hazgate_export.graphs.weights import write_graphs


def _graph(folder: Path, name: str, *weights: NDArray[np.float32]) -> Path:
    """A chain of matrix products by `weights`."""
    nodes, value = [], "x"
    for i, _ in enumerate(weights):
        nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"y{i}"]))
        value = f"y{i}"
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", weights[0].shape[0]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", weights[-1].shape[1]])],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    save(model, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def _run(file: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.fixture
def weights() -> list[NDArray[np.float32]]:
    random = np.random.default_rng(3)
    return [random.normal(size=(64, 64)).astype(np.float32) for _ in range(3)]


def test_a_tensor_of_two_graphs_is_stored_once(
    tmp_path: Path, weights: list[NDArray[np.float32]]
) -> None:
    common, first, second = weights
    graphs = {
        "a": _graph(tmp_path, "a", common, first),
        "b": _graph(tmp_path, "b", common, second),
    }
    root = tmp_path / "bundle"
    root.mkdir()
    written = write_graphs(graphs, root)
    assert written["a"].data == ("weights/a+b.bin", "weights/a.bin")
    sizes = {path.name: path.stat().st_size for path in (root / "weights").iterdir()}
    assert sizes == {"a+b.bin": 64 * 64 * 4, "a.bin": 64 * 64 * 4, "b.bin": 64 * 64 * 4}


def test_written_graphs_answer_as_before(
    tmp_path: Path, weights: list[NDArray[np.float32]]
) -> None:
    common, first, second = weights
    graphs = {
        "a": _graph(tmp_path, "a", common, first),
        "b": _graph(tmp_path, "b", common, second, first),
    }
    x = np.random.default_rng(4).normal(size=(5, 64)).astype(np.float32)
    before = {name: _run(file, x) for name, file in graphs.items()}
    root = tmp_path / "bundle"
    root.mkdir()
    for name, written in write_graphs(graphs, root).items():
        np.testing.assert_array_equal(_run(root / written.graph, x), before[name])


def test_graphs_without_common_tensors_have_no_shared_file(
    tmp_path: Path, weights: list[NDArray[np.float32]]
) -> None:
    root = tmp_path / "bundle"
    root.mkdir()
    graphs = {"a": _graph(tmp_path, "a", weights[0]), "b": _graph(tmp_path, "b", weights[1])}
    assert write_graphs(graphs, root)["a"].data == ("weights/a.bin",)
    assert {path.name for path in (root / "weights").iterdir()} == {"a.bin", "b.bin"}


def test_a_graph_maps_no_bytes_that_only_others_need(
    tmp_path: Path, weights: list[NDArray[np.float32]]
) -> None:
    of_all, of_two, own = weights
    root = tmp_path / "bundle"
    root.mkdir()
    graphs = {
        "a": _graph(tmp_path, "a", of_all, of_two),
        "b": _graph(tmp_path, "b", of_all, of_two),
        "c": _graph(tmp_path, "c", of_all, own),
    }
    written = write_graphs(graphs, root)
    mapped = {name: sum((root / f).stat().st_size for f in w.data) for name, w in written.items()}
    assert mapped == dict.fromkeys("abc", 2 * 64 * 64 * 4)


def test_tensors_of_the_same_bytes_and_another_type_are_not_confused(tmp_path: Path) -> None:
    zeros = np.zeros((32, 32), dtype=np.float32)
    root = tmp_path / "bundle"
    root.mkdir()
    graphs = {
        "a": _graph(tmp_path, "a", zeros),
        "b": _graph(tmp_path, "b", zeros.reshape(16, 64), np.ones((64, 64), dtype=np.float32)),
    }
    assert write_graphs(graphs, root)["a"].data == ("weights/a.bin",)


def test_offsets_are_aligned_to_pages(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    odd = [random.normal(size=(33, 33)).astype(np.float32) for _ in range(3)]
    root = tmp_path / "bundle"
    root.mkdir()
    write_graphs({"a": _graph(tmp_path, "a", *odd)}, root)
    model = onnx.load(root / "a.onnx", load_external_data=False)
    offsets = [
        int(entry.value)
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert len(offsets) == 3
    assert all(offset % 4096 == 0 for offset in offsets)


def test_quantisation_that_finds_nothing_to_quantise_is_an_error(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(ValueError, match="no MatMul was quantised"):
        quantize_int8(tmp_path / "relu.onnx", tmp_path / "int8.onnx", "dynamic")


def test_int8_weights_are_a_quarter_of_fp32(
    tmp_path: Path, weights: list[NDArray[np.float32]]
) -> None:
    quantize_int8(_graph(tmp_path, "a", *weights), tmp_path / "int8.onnx", "dynamic")
    summary = summarise(tmp_path / "int8.onnx")
    assert summary.weight_bytes["int8"] >= 3 * 64 * 64
    assert summary.weight_bytes["float"] < 3 * 64 * 16


def test_a_graph_with_another_signature_is_refused(
    tmp_path: Path, weights: list[NDArray[np.float32]]
) -> None:
    with pytest.raises(ValueError, match=r"expected .*input_ids"):
        check(_graph(tmp_path, "a", *weights))
