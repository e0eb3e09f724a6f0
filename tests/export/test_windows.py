"""Window attention in blocks is window attention, in plain operators and without the square."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

from hazgate.engine.session import OrtSession
from hazgate_export.graphs.portable import MASKED_SCORE, save
from hazgate_export.graphs.windows import block_windows
from hazgate_export.preflight.run import preflight_graph
from hazgate_export.preflight.table import find_target
from hazgate_export.preflight.view import provider_view
from hazgate_export.recipe import ParityLimits
from tests.support.portable import Portable, export_dense, export_family

GATE = ParityLimits(max_abs_logit_diff=1e-4, max_changed_share=0.0, max_invariance_diff=1e-4)
# tests/support/families.py: local_attention = 16.
REACH = 8


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Portable:
    return export_dense(tmp_path_factory.mktemp("dense"), "modernbert")


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Portable:
    return export_family(tmp_path_factory.mktemp("blocked"), "modernbert")


@pytest.fixture(scope="module")
def sessions(dense: Portable, blocked: Portable) -> tuple[OrtSession, OrtSession]:
    one, other = (
        OrtSession(p.graph, kind="portable", n_labels=p.subject.n_logits, threads=2)
        for p in (dense, blocked)
    )
    return one, other


def test_blocks_pass_the_gate_of_float32(blocked: Portable) -> None:
    assert blocked.measure(blocked.graph, GATE).problems == ()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n_rows=st.integers(1, 4), n_tokens=st.integers(1, 6 * REACH))
def test_blocks_answer_as_one_masked_square_does_at_any_length_and_padding(
    sessions: tuple[OrtSession, OrtSession], data: st.DataObject, n_rows: int, n_tokens: int
) -> None:
    lengths = data.draw(st.lists(st.integers(1, n_tokens), min_size=n_rows, max_size=n_rows))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    ids = random.integers(5, 6000, size=(n_rows, n_tokens), dtype=np.int64)
    mask = (np.arange(n_tokens) < np.array(lengths)[:, None]).astype(np.int64)
    one, other = (session.run(ids * mask, mask) for session in sessions)
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)


def _edited(blocked: Portable, folder: Path, name: str, values: np.ndarray) -> Path:
    """The blocked graph with the constant `name` changed."""
    model = onnx.load(blocked.graph)
    (node,) = [node for node in model.graph.node if node.name == name]
    assert numpy_helper.to_array(node.attribute[0].t).shape == values.shape
    node.attribute[0].t.CopyFrom(numpy_helper.from_array(values))
    save(model, folder / "mutant.onnx")
    return folder / "mutant.onnx"


def _band(first: int, last: int) -> np.ndarray:
    ahead = np.arange(3 * REACH) - np.arange(REACH)[:, None]
    return np.where((ahead >= first) & (ahead <= last), 0, MASKED_SCORE).astype(np.float32)


def test_the_band_that_is_edited_below_is_the_one_that_was_written(
    blocked: Portable, tmp_path: Path
) -> None:
    graph = _edited(blocked, tmp_path, "window_0/band", _band(0, 2 * REACH))
    assert blocked.measure(graph, GATE).passed


@pytest.mark.parametrize(
    "band",
    [
        pytest.param(_band(1, 2 * REACH), id="one narrower to the left"),
        pytest.param(_band(0, 2 * REACH - 1), id="one narrower to the right"),
        pytest.param(_band(0, 2 * REACH + 1), id="one wider to the right"),
        pytest.param(_band(-REACH, 3 * REACH), id="whole blocks"),
    ],
)
def test_another_band_misses_the_gate(blocked: Portable, tmp_path: Path, band: np.ndarray) -> None:
    assert not blocked.measure(_edited(blocked, tmp_path, "window_0/band", band), GATE).passed


def test_padding_that_may_be_attended_to_misses_the_gate(blocked: Portable, tmp_path: Path) -> None:
    seen = np.array(0, dtype=np.float32)
    assert not blocked.measure(_edited(blocked, tmp_path, "window_0/masked", seen), GATE).passed


def _most_elements(graph: Path, n_tokens: int, part: str) -> int:
    """Elements of the largest value under `part`, for one text of a length, as a GPU gets it."""
    view = provider_view(graph, {"batch": 1, "sequence": n_tokens})
    sizes = [
        int(np.prod([dim.dim_value for dim in value.type.tensor_type.shape.dim]))
        for value in view.graph.value_info
        if part in value.name
    ]
    assert all(sizes), "every size is known"
    return max(sizes)


def test_memory_of_window_layers_grows_with_the_length_and_not_with_its_square(
    dense: Portable, blocked: Portable
) -> None:
    square, line = (
        _most_elements(p.graph, 1024, "layers.1/attn")
        / _most_elements(p.graph, 256, "layers.1/attn")
        for p in (dense, blocked)
    )
    assert square == 16
    assert line == 4


def test_no_mask_of_the_whole_square_is_left_for_the_windows(blocked: Portable) -> None:
    model = onnx.load(blocked.graph, load_external_data=False)
    assert not [node.name for node in model.graph.node if node.op_type in ("Abs", "If")]


def test_operators_that_this_process_has_registered_are_none_of_the_views(
    blocked: Portable,
) -> None:
    kernels = pytest.importorskip("hazgate_kernels")
    onnxruntime.SessionOptions().register_custom_ops_library(str(kernels.library_path()))
    view = provider_view(blocked.graph, {"batch": 1, "sequence": 32})
    assert "hazgate" not in {imported.domain for imported in view.opset_import}


@pytest.mark.parametrize("n_tokens", [32, 1024])
def test_migraphx_takes_the_blocks_whole(blocked: Portable, n_tokens: int) -> None:
    targets = [find_target(f"migraphx@{version}") for version in ("1.22", "1.23.2", "plugin-1.0")]
    judgements = preflight_graph(blocked.graph, targets, (2, n_tokens))
    assert [judgement.verdict for judgement in judgements] == ["one subgraph"] * 3


def test_a_model_without_windows_is_left_as_it_is(tmp_path: Path) -> None:
    graph = export_dense(tmp_path, "bert").graph
    before = graph.read_bytes()
    assert block_windows(graph) == 0
    assert graph.read_bytes() == before


def _with_softmax_read_twice(model: ModelProto) -> None:
    softmax = next(n for n in model.graph.node if n.name == "/model/layers.1/attn/Softmax")
    model.graph.node.append(
        onnx.helper.make_node("Identity", [softmax.output[0]], ["other"], name="other")
    )


def _with_another_sum(model: ModelProto) -> None:
    add = next(n for n in model.graph.node if n.name == "/model/layers.1/attn/Add_2")
    add.op_type = "Max"


@pytest.mark.parametrize("change", [_with_softmax_read_twice, _with_another_sum])
def test_an_attention_that_is_not_known_is_refused_by_name(
    dense: Portable, tmp_path: Path, change: Callable[[ModelProto], None]
) -> None:
    model = onnx.load(dense.graph)
    change(model)
    save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"layers\.1/attn"):
        block_windows(tmp_path / "other.onnx")
