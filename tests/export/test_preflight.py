"""Preflight: which graphs a release of the MIGraphX provider takes whole, and what it refuses."""

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, parser
from pydantic import ValidationError

from hazgate_export.__main__ import cli
from hazgate_export.errors import RecipeError
from hazgate_export.preflight.rules import PreflightResult, judge
from hazgate_export.preflight.run import preflight_graph
from hazgate_export.preflight.table import ProviderTable, find_target, load_table

CURRENT = "migraphx@1.23.2"
RELEASES = [name for release in load_table("migraphx").releases for name in release.names]


def _model(body: str, *, opset: int = 18, values: str = "") -> ModelProto:
    """A graph from x [2, 4] and ids [2, 4] to y, whose inner values are declared in `values`."""
    return parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1]>
        g (float[2,4] x, int64[2,4] ids, int64[1] n, uint8[2,4] u, int8[4,4] b)
        => (float[2,4] y)
        <float[4,4] w = {{{", ".join(["1"] * 16)}}}, int64[2] shape = {{2, 4}}{values}>
        {{ {body} }}"""
    )


def _judge(model: ModelProto, target: str = CURRENT) -> PreflightResult:
    return judge(model, find_target(target), graph="g", shape=(2, 4))


REFUSED = {
    "IsNaN": ("bad = IsNaN(x) y = Where(bad, x, x)", ", bool[2,4] bad", "not in its list"),
    "Size": ("bad = Size(x) y = Reshape(x, shape)", ", int64 bad", "not in its list"),
    "CastLike": ("y = CastLike(x, x)", "", "not in its list"),
    "FusedMatMul": ("y = com.microsoft.FusedMatMul(x, w)", "", "not in its list"),
    "DynamicQuantizeMatMul": (
        "y = com.microsoft.DynamicQuantizeMatMul(x, b, x)",
        "",
        "not in its list",
    ),
    "MatMulInteger": (
        "bad = MatMulInteger(u, b, u) y = Cast<to=1>(bad)",
        ", int32[2,4] bad",
        "zero points",
    ),
    "Reshape": ("y = Reshape(x, n)", "", "input 1 is computed from data"),
    "Expand": ("y = Expand(x, n)", "", "input 1 is computed from data"),
    "Slice": ("y = Slice(x, n, n)", "", "input 1 is computed from data"),
    "Tile": ("y = Tile(x, n)", "", "input 1 is computed from data"),
    "Unsqueeze": ("y = Unsqueeze(x, n)", "", "input 1 is computed from data"),
    "Squeeze": ("y = Squeeze(x, n)", "", "input 1 is computed from data"),
    "ReduceSum": ("y = ReduceSum(x, n)", "", "input 1 is computed from data"),
    "Split": ("y, z = Split(x, n)", ", float[2,4] z", "input 1 is computed from data"),
    "Pad": ("y = Pad(x, n)", "", "input 1 is computed from data"),
    "ConstantOfShape": ("y = ConstantOfShape(n)", "", "input 0 is computed from data"),
    "NonZero": (
        "bad = NonZero(x) y = Cast<to=1>(bad)",
        ", int64[2,4] bad",
        "input 0 is computed from data",
    ),
    "Gelu": ("y = Gelu(z)", ", string[2,4] z", "element type STRING"),
}


@pytest.mark.parametrize("operator", REFUSED)
def test_a_node_that_the_provider_leaves_to_the_cpu_is_told_with_its_reason(operator: str) -> None:
    body, values, why = REFUSED[operator]
    found = _judge(_model(body, values=values))
    assert found.verdict == "partitioned"
    (problem,) = found.problems
    assert problem.refused
    assert problem.operator == operator
    assert why in problem.why


TAKEN = {
    "a shape by constants": "y = Reshape(x, shape)",
    "a shape of another value": "s = Shape(x) y = Reshape(x, s)",
    "arithmetic on shapes": "s = Shape(ids) t = Mul(s, s) r = Div(t, s) y = Reshape(x, r)",
    "ends by constants": "s = Constant<value_ints=[0]>() e = Constant<value_ints=[2]>() "
    "y = Slice(x, s, e)",
    "an optional input that is not there": "y = Squeeze(x)",
    "a contrib operator, whatever its inputs": "y = com.microsoft.QuickGelu(x)",
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_follows_from_constants_and_shapes_is_taken(what: str) -> None:
    values = "".join(f", int64[2] {name}" for name in "stre")
    assert _judge(_model(TAKEN[what], values=values)).verdict == "one subgraph"


def _refused_nodes(n_refused: int, n_taken: int) -> ModelProto:
    nodes = [
        *(helper.make_node("IsInf", ["x"], [f"bad{i}"]) for i in range(n_refused)),
        *(helper.make_node("Relu", ["x"], [f"good{i}"]) for i in range(n_taken)),
        helper.make_node("Neg", ["x"], ["y"]),
    ]
    model = _model("y = Neg(x)")
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, kind, [2, 4])
        for prefix, kind, n in (("bad", onnx.TensorProto.BOOL, n_refused), ("good", 1, n_taken))
        for name in (f"{prefix}{i}" for i in range(n))
    )
    return model


def test_ten_refused_nodes_split_the_graph_and_eleven_send_it_to_the_cpu() -> None:
    assert _judge(_refused_nodes(10, 3)).verdict == "partitioned"
    assert _judge(_refused_nodes(11, 3)).verdict == "all CPU"
    assert _judge(_refused_nodes(11, 3), "migraphx@plugin-1.0").verdict == "partitioned"


@given(n_refused=st.integers(0, 30), n_taken=st.integers(0, 30))
def test_the_verdict_depends_on_the_number_of_refused_nodes_alone(
    n_refused: int, n_taken: int
) -> None:
    found = _judge(_refused_nodes(n_refused, n_taken))
    assert found.n_refused == n_refused
    assert sum(found.counts.values()) == n_refused
    wanted = "one subgraph" if not n_refused else "partitioned" if n_refused <= 10 else "all CPU"
    assert found.verdict == wanted


@given(
    sources=st.lists(
        st.tuples(st.sampled_from(["Add", "Shape"]), st.integers(0, 99), st.integers(0, 99)),
        min_size=1,
        max_size=12,
    )
)
def test_a_value_is_derivable_if_every_way_up_ends_in_a_constant_or_a_shape(
    sources: Sequence[tuple[str, int, int]],
) -> None:
    names, derivable = ["shape", "n"], {"shape": True, "n": False}
    nodes = []
    for i, (operator, first, second) in enumerate(sources):
        inputs = [names[first % len(names)], names[second % len(names)]]
        name = f"v{i}"
        nodes.append(helper.make_node(operator, inputs[: 2 if operator == "Add" else 1], [name]))
        derivable[name] = operator == "Shape" or all(derivable[source] for source in inputs)
        names.append(name)
    nodes.append(helper.make_node("Reshape", ["x", names[-1]], ["y"]))
    model = _model("y = Neg(x)")
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in names[2:]
    )
    assert (_judge(model).verdict == "one subgraph") == derivable[names[-1]]


UNREADABLE = {
    "an empty beta": (
        "y, a, b0, s = com.microsoft.SkipLayerNormalization(x, x, g, , x)",
        ", float[4] g, float[2,4] a, float[2,4] b0, float[2,4] s",
        "beta is empty",
    ),
    "heads without their width": (
        "y = com.microsoft.RotaryEmbedding<num_heads=2>(x, ids, w, w)",
        "",
        "go together",
    ),
    "a scale": ("y = com.microsoft.RotaryEmbedding<scale=0.5>(x, ids, w, w)", "", "scale"),
    "packed rows": (
        "y = com.microsoft.RotaryEmbedding<is_packed_batching=1>(x, ids, w, w)",
        "",
        "packed batching",
    ),
    "a bias for all heads": (
        "y = com.microsoft.MultiHeadAttention<num_heads=2>(q, q, q, , , bias)",
        ", float[2,4,4] q, float[2,1,4,4] bias",
        "[2, 1, 4, 4] is to be broadcast",
    ),
    "a bias of unknown shape": (
        "y = com.microsoft.MultiHeadAttention<num_heads=2>(q, q, q, , , bias)",
        ", float[2,4,4] q, float bias",
        "attention_bias",
    ),
    "attention with a bias": (
        "y = com.microsoft.Attention<num_heads=2>(x, w, w, , , w)",
        "",
        "attention_bias is not read",
    ),
    "attention with rotation": (
        "y = com.microsoft.Attention<num_heads=2, do_rotary=1>(x, w)",
        "",
        "do_rotary is not read",
    ),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_the_provider_takes_and_cannot_compile_is_told(what: str) -> None:
    body, values, why = UNREADABLE[what]
    found = _judge(_model(body, values=values))
    assert found.verdict == "cannot be compiled"
    assert any(why in problem.why for problem in found.problems)


def test_a_bias_of_its_full_shape_is_compiled() -> None:
    body = "y = com.microsoft.MultiHeadAttention<num_heads=2>(q, q, q, , , bias)"
    model = _model(body, values=", float[2,4,4] q, float[2,2,4,4] bias")
    assert _judge(model).verdict == "one subgraph"


@pytest.mark.parametrize(
    ("opset", "verdict"),
    [
        (16, "cannot be compiled"),
        (17, "one subgraph"),
        (20, "one subgraph"),
        (21, "cannot be compiled"),
    ],
)
def test_opsets_from_17_to_20_are_read(opset: int, verdict: str) -> None:
    assert _judge(_model("y = Neg(x)", opset=opset)).verdict == verdict


def test_the_newest_of_all_opsets_counts() -> None:
    model = _model("y = Neg(x)")
    model.opset_import.add(domain="com.microsoft.nchwc", version=23)
    assert _judge(model).verdict == "cannot be compiled"


def test_a_dimension_that_is_no_number_is_told() -> None:
    model = _model("y = Neg(x)")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    found = _judge(model)
    assert found.verdict == "cannot be compiled"
    assert "batch of input x" in found.problems[0].why


@pytest.mark.parametrize(
    ("release", "operator", "is_taken"),
    [
        ("1.20.1", "LayerNormalization", False),
        ("1.21.0", "LayerNormalization", True),
        ("1.22.0", "QuickGelu", False),
        ("1.21-rocm6.4", "QuickGelu", True),
        ("1.21-rocm6.4", "Attention", False),
        ("1.22.1-rocm7.0", "Attention", True),
        ("1.27.1", "IsNaN", False),
        ("plugin-1.0.0", "IsNaN", True),
        ("2.12", "Attention", False),
        ("2.15", "Attention", True),
        ("2.15", "IsNaN", False),
        ("2.17", "IsNaN", True),
    ],
)
def test_releases_differ_in_their_operators(release: str, operator: str, is_taken: bool) -> None:
    assert (operator in find_target(f"migraphx@{release}").operators) == is_taken


def test_bfloat16_is_an_element_type_since_the_release_that_added_it() -> None:
    model = _model("z = Cast<to=16>(x) y = Cast<to=1>(z)", values=", bfloat16[2,4] z")
    assert _judge(model, "migraphx@1.23").verdict == "one subgraph"
    assert _judge(model, "migraphx@1.22").n_refused == 2


def test_a_parser_that_is_younger_than_the_release_is_missed() -> None:
    body = "y = com.microsoft.SkipLayerNormalization(x, x, w)"
    assert _judge(_model(body), "migraphx@1.21-rocm6.4").verdict == "cannot be compiled"
    assert _judge(_model(body), "migraphx@1.22.1-rocm7.0").verdict == "one subgraph"


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_of_the_table_is_a_target(release: str) -> None:
    target = find_target(f"migraphx@{release}")
    assert target.name == f"migraphx@{release}"
    assert "MatMul" in target.operators


@pytest.mark.parametrize(
    "name",
    ["migraphx@1.17", "migraphx@1.2", "migraphx@1.230", "migraphx", "migraphx@", "rocm@1.22"],
)
def test_a_release_without_data_is_no_target(name: str) -> None:
    with pytest.raises(RecipeError, match="preflight"):
        find_target(name)


def test_every_table_of_the_data_names_a_source_and_no_operator_stands_twice() -> None:
    table = load_table("migraphx")
    names = [name for group in table.operators for name in group.names]
    assert len(names) == len(set(names))
    assert all(table.sources[group.source] for group in table.operators)
    data = table.model_dump()
    data["operators"][0]["source"] = "hearsay"
    with pytest.raises(ValidationError, match="hearsay"):
        ProviderTable.model_validate(data)


def test_the_rules_are_for_operators_of_the_lists() -> None:
    table = load_table("migraphx")
    names = {name for group in table.operators for name in group.names}
    assert set(table.arguments.inputs) <= names
    assert set(table.parser_since.versions) <= names


# Files and bundles


def _save(model: ModelProto, folder: Path) -> Path:
    file = folder / "graph.onnx"
    onnx.save(model, file)
    return file


_FOLDED = """<ir_version: 9, opset_import: ["" : 18]>
g (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask)
=> (float[batch, sequence] logits)
{
    sizes = Shape(input_ids)
    numbers = Cast<to=1>(sizes)
    wrong = IsNaN(numbers)
    zeros = Cast<to=7>(wrong)
    shape = Add(sizes, zeros)
    mask = Cast<to=1>(attention_mask)
    negative = Neg(mask)
    logits = Reshape(negative, shape)
}"""


def test_a_file_is_judged_as_the_provider_is_given_it(tmp_path: Path) -> None:
    """`IsNaN` is in no list, but of a shape whose dimensions are fixed it is a constant."""
    file = _save(parser.parse_model(_FOLDED), tmp_path)
    (found,) = preflight_graph(file, [find_target(CURRENT)], (8, 512))
    assert found.verdict == "one subgraph"
    assert (found.shape, found.n_nodes) == ((8, 512), 3)


def _run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["preflight", *(str(argument) for argument in arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_graph_that_would_not_run_whole_exits_with_1_and_says_why(tmp_path: Path) -> None:
    text = _FOLDED.replace("negative = Neg(mask)", "b = IsNaN(mask) negative = Cast<to=1>(b)")
    file = _save(parser.parse_model(text), tmp_path)
    code, out, err = _run(file, "--target", CURRENT, "--target", "migraphx@plugin-1.0")
    assert code == 1
    assert "partitioned" in out
    assert "IsNaN: not in its list of operators" in out
    assert "one subgraph" in out
    assert "1 of 2 would not run as one subgraph" in err
    code, out, _ = _run(file, "--target", CURRENT, "--json", "--shape", "2x16")
    assert code == 1
    (found,) = json.loads(out)
    assert (found["verdict"], found["n_refused"], found["shape"]) == ("partitioned", 1, [2, 16])


def test_a_graph_that_runs_whole_exits_with_0(tmp_path: Path) -> None:
    file = _save(parser.parse_model(_FOLDED), tmp_path)
    assert _run(file, "--target", CURRENT)[0] == 0


def test_wrong_questions_have_exit_codes_of_their_own(tmp_path: Path) -> None:
    file = _save(parser.parse_model(_FOLDED), tmp_path)
    assert _run(file, "--target", "migraphx@0.1")[0] == 2
    assert _run(file, "--target", CURRENT, "--shape", "0x5")[0] == 2
    assert _run(tmp_path / "none", "--target", CURRENT)[0] == 3
    (tmp_path / "x.onnx").write_bytes(b"\xff\xff no graph")
    assert _run(tmp_path / "x.onnx", "--target", CURRENT)[0] == 3
