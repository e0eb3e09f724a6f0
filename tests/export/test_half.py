"""Half precision of portable graphs: tensors that are halved, and limits that can fail."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import ModelProto, TensorProto, numpy_helper, parser

from hazgate_export.graphs import half
from hazgate_export.graphs import portable as portable_graphs
from hazgate_export.graphs.half import float_values, halve, write_half
from hazgate_export.graphs.inspect_graph import summarise
from hazgate_export.graphs.portable import save
from hazgate_export.parity import Parity
from hazgate_export.preflight.run import preflight_graph
from hazgate_export.preflight.table import find_target
from hazgate_export.recipe import ParityLimits
from hazgate_export.schemes import HalfPrecision, Precision
from tests.support.families import families
from tests.support.portable import Portable, export_family

GATE = ParityLimits(
    max_abs_logit_diff=5e-2,
    max_changed_share=0.0,
    decision_margin=0.02,
    max_invariance_diff=5e-2,
)
# A rounding of fp16 moves logits by more than any order of float32 sums does.
_FP32_NOISE = 1e-6
IN_FLOAT32 = ("LayerNormalization", "Softmax", "Erf", "Tanh", "Cos", "Sin", "ReduceSum", "Div")


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Portable]:
    done: dict[str, Portable] = {}

    def get(name: str) -> Portable:
        if name not in done:
            done[name] = export_family(tmp_path_factory.mktemp(name), name)
        return done[name]

    return get


def _element_types(model: ModelProto) -> dict[str, int]:
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = typed.graph
    return {
        **{v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)},
        **{t.name: t.data_type for t in graph.initializer},
    }


def _halved(portable: Portable, folder: Path, precision: HalfPrecision = "fp16") -> Path:
    file = folder / f"{precision}.onnx"
    write_half(portable.graph, file, precision)
    return file


def _measure(portable: Portable, folder: Path, precision: HalfPrecision) -> Parity:
    with half.runnable_here(_halved(portable, folder, precision), precision) as graph:
        return portable.measure(graph, GATE)


@pytest.mark.parametrize("name", families())
def test_fp16_passes_its_gate_and_is_not_fp32(
    portable: Callable[[str], Portable], tmp_path: Path, name: str
) -> None:
    parity = _measure(portable(name), tmp_path, "fp16")
    assert parity.passed, parity.problems
    assert parity.max_abs_logit_diff > _FP32_NOISE


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_bf16_rounds_more_than_fp16_and_stays_close(
    portable: Callable[[str], Portable], tmp_path: Path, name: str
) -> None:
    """Three bits less; random weights are further off than trained ones."""
    fp16, bf16 = (_measure(portable(name), tmp_path, kind) for kind in ("fp16", "bf16"))
    assert 2 * fp16.max_abs_logit_diff < bf16.max_abs_logit_diff < 0.3


@pytest.mark.parametrize("name", families())
def test_products_are_half_and_what_half_would_spoil_is_not(
    portable: Callable[[str], Portable], tmp_path: Path, name: str
) -> None:
    model = onnx.load(_halved(portable(name), tmp_path))
    types = _element_types(model)
    in_half = [n.op_type for n in model.graph.node if types[n.output[0]] == TensorProto.FLOAT16]
    assert not set(in_half) & set(IN_FLOAT32)
    # Q, K and V in one or three, scores, mixing, output, and two of the MLP.
    layers = families()[name].config.num_hidden_layers
    assert in_half.count("MatMul") + in_half.count("Gemm") >= 6 * layers
    logits = next(node for node in model.graph.node if "logits" in node.output)
    assert {types[name] for name in (*logits.input, *logits.output)} == {TensorProto.FLOAT}


@pytest.mark.parametrize("name", families())
def test_the_signature_stays_and_the_weights_are_half(
    portable: Callable[[str], Portable], tmp_path: Path, name: str
) -> None:
    before = summarise(portable(name).graph)
    after = summarise(_halved(portable(name), tmp_path))
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    table_bytes = families()[name].config.vocab_size * families()[name].config.hidden_size * 2
    assert after.weight_bytes["float16"] >= table_bytes
    assert after.weight_bytes["float16"] > 5 * after.weight_bytes["float"]
    total = sum(after.weight_bytes.values())
    assert total < 0.6 * sum(before.weight_bytes.values())


@pytest.mark.parametrize("name", families())
def test_no_number_of_a_portable_graph_is_an_infinity_in_half(
    portable: Callable[[str], Portable], name: str
) -> None:
    model = onnx.load(portable(name).graph)
    constants = [
        *(numpy_helper.to_array(t) for t in model.graph.initializer),
        *(
            numpy_helper.to_array(attribute.t)
            for node in model.graph.node
            for attribute in node.attribute
            if attribute.HasField("t")
        ),
    ]
    fractions = [values for values in constants if values.dtype == np.float32]
    assert fractions
    assert max(np.abs(values).max(initial=0.0) for values in fractions) <= 65504
    assert "IsNaN" not in {node.op_type for node in model.graph.node}


def test_mean_pooling_is_a_product_with_the_mask_and_stays_float32(
    portable: Callable[[str], Portable], tmp_path: Path
) -> None:
    subject = portable("modernbert")
    sums = [n for n in onnx.load(subject.graph).graph.node if n.op_type == "ReduceSum"]
    assert [node.input[0] for node in sums] == ["attention_mask"]
    model = onnx.load(_halved(subject, tmp_path))
    types = _element_types(model)
    pools = [node for node in model.graph.node if node.name == portable_graphs.POOLING]
    assert [node.op_type for node in pools] == ["MatMul"]
    assert {types[value] for value in (*pools[0].input, *pools[0].output)} == {TensorProto.FLOAT}


# The limits and the tests above can fail


def test_an_infinite_mask_misses_the_gate(
    portable: Callable[[str], Portable], tmp_path: Path
) -> None:
    subject = portable("modernbert")
    model = onnx.load(_halved(subject, tmp_path))
    changed = 0
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                values = numpy_helper.to_array(attribute.t)
                if values.dtype == np.float32 and (values <= portable_graphs.MASKED_SCORE).any():
                    infinite = np.where(values <= portable_graphs.MASKED_SCORE, -np.inf, values)
                    attribute.t.CopyFrom(numpy_helper.from_array(infinite.astype(np.float32)))
                    changed += 1
    assert changed
    mutant = tmp_path / "mutant.onnx"
    save(model, mutant)
    with pytest.raises(Exception, match="not finite"):
        subject.measure(mutant, GATE)


@pytest.mark.parametrize("operator", ["LayerNormalization", "Softmax"])
def test_a_norm_or_a_softmax_in_half_is_seen(
    portable: Callable[[str], Portable],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator: str,
) -> None:
    monkeypatch.setattr(half, "_PRODUCTS", ("MatMul", "Gemm", operator))
    model = onnx.load(_halved(portable("bert"), tmp_path))
    types = _element_types(model)
    in_half = {n.op_type for n in model.graph.node if types[n.output[0]] == TensorProto.FLOAT16}
    assert in_half & set(IN_FLOAT32) == {operator}


# The pass itself


def _model(body: str, tensors: dict[str, np.ndarray]) -> ModelProto:
    declared = "".join(
        f", float[{','.join(map(str, values.shape))}] {name}" for name, values in tensors.items()
    )
    model = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 18]>
        g (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask{declared})
        => (float[batch, sequence, width] logits) {{ {body} }}"""
    )
    kept = [v for v in model.graph.input if v.name not in tensors]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in tensors.items())
    return model


def _floats(model: ModelProto) -> frozenset[str]:
    return float_values(onnx.shape_inference.infer_shapes(model))


def _answer(content: bytes | str) -> np.ndarray:
    """Logits [3, 4] of a graph for the ids 0, 1 and 2."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    ids = np.array([[0, 1, 2]], dtype=np.int64)
    (got,) = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return np.asarray(got[0])


_EYE = np.eye(4, dtype=np.float32)
_TWO_PRODUCTS = "x = Gather(table, input_ids) h = MatMul(x, w) logits = MatMul(h, last)"


@settings(max_examples=25, deadline=None)
@given(
    table=hnp.arrays(np.float32, (3, 4), elements=st.floats(-60000, 60000, width=32)),
    diagonal=hnp.arrays(np.float32, 4, elements=st.floats(-1, 1, width=32)),
    precision=st.sampled_from(["fp16", "bf16"]),
)
def test_weights_and_results_of_the_twin_are_the_nearest_halves(
    table: np.ndarray, diagonal: np.ndarray, precision: HalfPrecision
) -> None:
    kind = half._TYPES[precision]
    # Sums of one term, which no order of adding can change.
    model = _model(_TWO_PRODUCTS, {"table": table, "w": np.diag(diagonal), "last": _EYE})
    halve(model, _floats(model), kind)
    with tempfile.TemporaryDirectory() as name:
        onnx.save(model, Path(name) / "half.onnx")
        half.write_twin(Path(name) / "half.onnx", Path(name) / "twin.onnx")
        got = _answer(str(Path(name) / "twin.onnx"))
    dtype = half._NUMPY_TYPES[kind]
    factors, weights = (np.float32(x.astype(dtype)) for x in (table, np.diag(diagonal)))
    np.testing.assert_array_equal(got, np.float32((factors @ weights).astype(dtype)))


def test_the_cpu_leaves_out_a_rounding_of_fp16_which_is_why_a_twin_is_measured() -> None:
    model = _model(_TWO_PRODUCTS, {"table": _EYE * 0.75, "w": _EYE * 0.7319, "last": _EYE})
    halve(model, _floats(model), TensorProto.FLOAT16)
    exact = np.float32(0.75) * np.float32(np.float16(0.7319))
    assert _answer(model.SerializeToString())[0, 0] == exact != np.float16(exact)


def test_the_cpu_has_no_product_of_bfloat16() -> None:
    model = _model(_TWO_PRODUCTS, {"table": _EYE, "w": _EYE, "last": _EYE})
    halve(model, _floats(model), TensorProto.BFLOAT16)
    with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
        _answer(model.SerializeToString())


@pytest.mark.parametrize(("precision", "limit"), [("fp16", 65504.0), ("bf16", 3.3e38)])
def test_a_weight_beyond_the_types_range_is_refused(precision: HalfPrecision, limit: float) -> None:
    kind = half._TYPES[precision]
    fits = _model(_TWO_PRODUCTS, {"table": _EYE, "w": _EYE * np.float32(limit), "last": _EYE})
    halve(fits, _floats(fits), kind)
    if precision == "fp16":
        over = _model(_TWO_PRODUCTS, {"table": _EYE, "w": _EYE * np.float32(7e4), "last": _EYE})
        with pytest.raises(ValueError, match="w has values beyond float16"):
            halve(over, _floats(over), kind)


def test_a_graph_without_a_product_to_halve_is_refused() -> None:
    model = _model("x = Gather(table, input_ids) logits = MatMul(x, w)", {"table": _EYE, "w": _EYE})
    with pytest.raises(ValueError, match="no product"):
        halve(model, _floats(model), TensorProto.FLOAT16)


def test_a_product_of_no_text_stays_float32() -> None:
    body = (
        "x = Gather(table, input_ids) h = MatMul(x, w) m = Cast<to=1>(attention_mask) "
        "angles = MatMul(m, w) c = Cos(angles) r = Mul(h, c) logits = MatMul(r, last)"
    )
    model = _model(body, {"table": _EYE, "w": _EYE, "last": _EYE})
    halve(model, _floats(model), TensorProto.FLOAT16)
    products = [list(node.input) for node in model.graph.node if node.op_type == "MatMul"]
    assert products == [["x", "w_half"], ["m", "w"], ["r", "last"]]


def test_a_cast_is_made_once_for_all_who_read_it() -> None:
    body = (
        "x = Gather(table, input_ids) n = Relu(x) a = MatMul(n, w) b = MatMul(n, w) "
        "t = Add(a, b) u = Sub(a, b) v = Mul(t, u) logits = MatMul(v, last)"
    )
    model = _model(body, {"table": _EYE, "w": _EYE, "last": _EYE})
    halve(model, _floats(model), TensorProto.FLOAT16)
    casts = [node.input[0] for node in model.graph.node if node.op_type == "Cast"]
    assert sorted(casts) == ["a", "b", "n", "x"]


# Preflight of what is really exported


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_portable_graphs_run_whole_on_every_release_that_knows_layer_normalization(
    portable: Callable[[str], Portable],
    tmp_path: Path,
    name: str,
    precision: Precision,
) -> None:
    subject = portable(name)
    file = subject.graph
    if precision == "fp16" or precision == "bf16":
        file = _halved(subject, tmp_path, precision)
    releases = ["1.23.2", "1.27.1", "1.22.1-rocm7.0", "plugin-1.0"]
    if precision != "bf16":
        releases += ["1.21", "1.22", "1.21-rocm6.4"]
    targets = [find_target(f"migraphx@{release}") for release in releases]
    for found in preflight_graph(file, targets, (8, 128)):
        assert found.verdict == "one subgraph", found.counts
    (old,) = preflight_graph(file, [find_target("migraphx@1.20")], (8, 128))
    assert old.verdict != "one subgraph"
    assert ("LayerNormalization", "not in its list of operators") in old.counts
