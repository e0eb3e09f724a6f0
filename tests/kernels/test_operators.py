"""Each operator of hazgate-kernels on each instruction set of this processor, against float64."""

import ctypes
import gc
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto
from scipy.special import erf

from tests.support.kernels import (
    INSTRUCTION_SETS,
    AttentionCase,
    LinearCase,
    library,
    rotary_tables,
    session,
)

pytest.importorskip("hazgate_kernels", reason="built only where there is a C++ compiler")

# Relative to a product's greatest result: rounding of float32, of erf and of 2^x.
TOLERANCE = 2e-6
# Some shapes fill whole tiles and panels of some instruction set, others do not.
DEPTHS = st.sampled_from([1, 3, 4, 7, 8, 16, 30, 64, 96, 384])
COLUMNS = st.sampled_from([1, 2, 7, 8, 16, 31, 48, 64, 100])


@pytest.fixture(params=INSTRUCTION_SETS, scope="module")
def kernels(request: pytest.FixtureRequest) -> Path:
    found = library(request.param)
    if found is None:
        pytest.skip(f"this processor has no {request.param}")
    return found


def _some(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return random.normal(size=shape).astype(np.float32)


@st.composite
def linear_cases(draw: st.DrawFn) -> tuple[LinearCase, int, np.random.Generator]:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth, n_rows = draw(DEPTHS), draw(st.sampled_from([1, 2, 5, 9, 10, 33, 70]))
    activation = draw(st.sampled_from([0, 1, 2]))
    columns = (
        [draw(COLUMNS)] * 2 if activation == 2 else draw(st.lists(COLUMNS, min_size=1, max_size=3))
    )
    has_norm = draw(st.booleans())

    def maybe(*shape: int, when: bool = True) -> NDArray[np.float32] | None:
        return _some(random, *shape) if when and draw(st.booleans()) else None

    case = LinearCase(
        # Some pairs exceed 16 bits: AVX2's instruction would saturate there.
        weights=[random.integers(-127, 128, (depth, n)).astype(np.int8) for n in columns],
        scales=[
            random.uniform(0.5, 1, n).astype(np.float32) / np.float32(127 * np.sqrt(depth))
            for n in columns
        ],
        activation=activation,
        norm_weight=_some(random, depth) if has_norm else None,
        norm_bias=maybe(depth, when=has_norm),
        balance=maybe(depth),
        bias=maybe(sum(columns)),
        has_residual=draw(st.booleans()),
        activation_bits=draw(st.sampled_from([8, 16])) if activation == 0 else 8,
    )
    return case, n_rows, random


def _feeds(
    case: LinearCase, n_rows: int, random: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    depth = len(case.weights[0])
    # Rows of mixed magnitude, one of them zero.
    x = _some(random, n_rows, depth) * random.uniform(0.01, 100, (n_rows, 1)).astype(np.float32)
    x[random.integers(n_rows)] = 0
    feeds = {"x": x}
    if case.has_residual:
        n_out = sum(w.shape[1] for w in case.weights) // (2 if case.activation == 2 else 1)
        feeds["residual"] = _some(random, n_rows, n_out)
    return feeds


@settings(max_examples=40, deadline=None)
@given(drawn=linear_cases())
def test_linear_computes_its_formula(
    kernels: Path, drawn: tuple[LinearCase, int, np.random.Generator]
) -> None:
    case, n_rows, random = drawn
    feeds = _feeds(case, n_rows, random)
    got, *normed = case.session(kernels).run(None, feeds)
    rows = normed[0] if normed else feeds["x"]
    np.testing.assert_allclose(
        rows, case.normed(feeds["x"]), rtol=0, atol=2e-4 * np.abs(rows).max()
    )
    expected = case.expected(rows, feeds.get("residual"))
    # 16 bits are compared with no rounding: they leave two steps of 1 / 255 of a row's magnitude.
    relative = TOLERANCE if case.activation_bits == 8 else 2e-4
    # GELU near zero is as exact as its input, and the second half multiplies its error.
    before = float(np.abs(case.products(rows)).max())
    magnitude = before * max(before, 1.0) if case.activation == 2 else before
    tolerance = relative * max(np.abs(expected).max(), magnitude, 1e-30)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


LENGTHS = st.lists(
    st.sampled_from([1, 2, 3, 5, 8, 11, 12, 13, 16, 17, 64, 65, 66, 130]), min_size=1, max_size=4
)


@settings(max_examples=25, deadline=None)
@given(
    lengths=LENGTHS,
    n_heads=st.sampled_from([1, 2, 3]),
    width=st.sampled_from([2, 6, 16, 20, 32, 64, 80]),
    window=st.sampled_from([-1, 0, 1, 5, 16, 64, 1000]),
    has_rotary=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_computes_its_formula(
    kernels: Path,
    lengths: list[int],
    n_heads: int,
    width: int,
    window: int,
    has_rotary: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    qkv = _some(random, sum(lengths), 3 * n_heads * width) * 2
    case = AttentionCase(
        n_heads=n_heads,
        window=window,
        scale=width**-0.5,
        rotary=rotary_tables(max(lengths) + 2, width) if has_rotary else None,
    )
    ends = np.cumsum(lengths).tolist()
    got = case.run(kernels, qkv, ends)
    np.testing.assert_allclose(got, case.expected(qkv, ends), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("n_tokens", "window"), [(513, -1), (513, 64), (1200, 64), (1100, -1)])
def test_texts_of_several_chunks_are_whole(kernels: Path, n_tokens: int, window: int) -> None:
    qkv = _some(np.random.default_rng(n_tokens), n_tokens, 3 * 64)
    case = AttentionCase(window=window, scale=0.125, rotary=rotary_tables(1300, 64))
    got = case.run(kernels, qkv, [n_tokens])
    np.testing.assert_allclose(got, case.expected(qkv, [n_tokens]), rtol=0, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(drawn=linear_cases(), data=st.data())
def test_a_row_is_bit_identical_alone_reordered_and_on_any_threads(
    kernels: Path, drawn: tuple[LinearCase, int, np.random.Generator], data: st.DataObject
) -> None:
    case, n_rows, random = drawn
    feeds = _feeds(case, n_rows, random)
    (whole, *_) = case.session(kernels, threads=1).run(None, feeds)
    several = case.session(kernels, threads=3)
    order = data.draw(st.permutations(range(n_rows)))
    some = order[: data.draw(st.integers(1, n_rows))]
    (part, *_) = several.run(None, {name: array[some] for name, array in feeds.items()})
    np.testing.assert_array_equal(part, whole[some])


@settings(max_examples=15, deadline=None)
@given(lengths=LENGTHS, window=st.sampled_from([-1, 5, 64]), data=st.data())
def test_attention_is_bit_identical_alone_reordered_and_on_any_threads(
    kernels: Path, lengths: list[int], window: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(sum(lengths))
    texts = [_some(random, n, 3 * 2 * 32) for n in lengths]
    case = AttentionCase(n_heads=2, window=window, scale=0.2, rotary=rotary_tables(200, 32))

    def run(chosen: list[int], threads: int) -> list[NDArray[np.float32]]:
        ends = np.cumsum([lengths[i] for i in chosen]).tolist()
        qkv = np.concatenate([texts[i] for i in chosen])
        return list(np.split(case.run(kernels, qkv, ends, threads=threads), ends[:-1]))

    order = data.draw(st.permutations(range(len(lengths))))
    mixed = dict(zip(order, run(list(order), 3), strict=True))
    for i in range(len(lengths)):
        np.testing.assert_array_equal(mixed[i], run([i], 1)[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_give_nan_for_their_row_only(kernels: Path, bad: float) -> None:
    random = np.random.default_rng(0)
    case = LinearCase(
        weights=[random.integers(-127, 128, (30, 20)).astype(np.int8)],
        scales=[np.full(20, 0.01, dtype=np.float32)],
    )
    for column in (0, 17, 29):
        x = _some(random, 3, 30)
        x[1, column] = bad
        (y,) = case.session(kernels).run(None, {"x": x})
        assert np.isnan(y[1]).all()
        assert np.isfinite(y[[0, 2]]).all()
    qkv = _some(random, 40, 3 * 16)
    qkv[7, 3] = bad
    y = AttentionCase().run(kernels, qkv, [40])
    assert not np.isfinite(y[7]).any()


def test_empty_texts_and_empty_batches_give_empty_results(kernels: Path) -> None:
    case = AttentionCase(n_heads=2)
    assert case.run(kernels, np.zeros((0, 3 * 32), dtype=np.float32), []).shape == (0, 32)
    one = np.ones((1, 3 * 32), dtype=np.float32)
    np.testing.assert_allclose(case.run(kernels, one, [0, 1, 1]), 1)


@pytest.mark.parametrize(
    ("qkv", "ends", "words"),
    [
        ((4, 96), [3], "the last text ends at 3 of 4"),
        ((4, 96), [3, 2, 4], "ends must rise"),
        ((4, 96), [-1, 4], "ends must rise"),
        ((4, 96), [2**40], "ends must rise"),
        ((4, 97), [4], "3 x 2 x width"),
        ((4, 2, 48), [4], "3 x 2 x width"),
        ((4, 0), [4], "1 to 1,024 wide"),
    ],
)
def test_hostile_shapes_are_errors_of_attention(
    kernels: Path, qkv: tuple[int, ...], ends: list[int], words: str
) -> None:
    with pytest.raises(Exception, match=words):
        AttentionCase(n_heads=2).run(kernels, np.zeros(qkv, dtype=np.float32), ends)


@pytest.mark.parametrize("window", [2**31, 2**62, 2**63 - 1])
def test_a_window_wider_than_any_text_reaches_all_of_it(kernels: Path, window: int) -> None:
    qkv = _some(np.random.default_rng(window % 97), 2000, 3 * 16)
    wide, whole = AttentionCase(window=window), AttentionCase()
    np.testing.assert_array_equal(wide.run(kernels, qkv, [2000]), whole.run(kernels, qkv, [2000]))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (AttentionCase(window=-2), "window must be"),
        (AttentionCase(window=-(2**63)), "window must be"),
        (AttentionCase(n_heads=0), "num_heads must be"),
        (AttentionCase(n_heads=-1), "num_heads must be"),
        (AttentionCase(n_heads=2**62), "num_heads must be"),
        (AttentionCase(scale=math.inf), "scale must be finite"),
        (AttentionCase(scale=math.nan), "scale must be finite"),
    ],
)
def test_hostile_attributes_are_errors_of_attention(
    kernels: Path, case: AttentionCase, words: str
) -> None:
    with pytest.raises(Exception, match=words):
        case.run(kernels, np.zeros((4, 96), dtype=np.float32), [4])


def test_too_few_positions_are_an_error_of_attention(kernels: Path) -> None:
    case = AttentionCase(rotary=rotary_tables(4, 16))
    with pytest.raises(Exception, match="at least 5"):
        case.run(kernels, np.zeros((5, 48), dtype=np.float32), [5])


def _case(depth: int = 8, **changes: object) -> LinearCase:
    weights = [np.ones((depth, 4), dtype=np.int8)]
    scales = [np.ones(4, dtype=np.float32)]
    return LinearCase(**{"weights": weights, "scales": scales, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (_case(scales=[np.ones(3, dtype=np.float32)]), "a constant scale for each"),
        (_case(weights=[np.ones((8, 4, 1), dtype=np.int8)]), "must be a matrix"),
        (_case(weights=[np.ones((0, 4), dtype=np.int8)]), "must be a matrix"),
        (_case(bias=np.ones(5, dtype=np.float32)), "bias has 5 values, expected 4"),
        (_case(norm_weight=np.ones(7, dtype=np.float32)), "norm weight has 7 values"),
        (_case(activation=2), "two weights of one shape"),
        (_case(activation=3), "0, 1 or 2"),
        (_case(activation_bits=4), "8 or 16"),
        (_case(activation_bits=16, activation=1), "16 bits go with no activation"),
        (
            _case(
                weights=[np.ones((8, 4), dtype=np.int8), np.ones((9, 4), dtype=np.int8)],
                scales=[np.ones(4, dtype=np.float32)] * 2,
            ),
            "depth 9 and 8",
        ),
    ],
)
def test_wrong_weights_are_errors_of_linear(kernels: Path, case: LinearCase, words: str) -> None:
    with pytest.raises(Exception, match=words):
        case.session(kernels)


def test_inputs_that_do_not_fit_the_weights_are_errors_of_linear(kernels: Path) -> None:
    with pytest.raises(Exception, match="x is 7 wide, its weights are 8 deep"):
        _case().session(kernels).run(None, {"x": np.ones((2, 7), dtype=np.float32)})
    feeds = {"x": np.ones((2, 8), dtype=np.float32), "residual": np.ones((3, 4), dtype=np.float32)}
    with pytest.raises(Exception, match="the residual has another shape"):
        _case(has_residual=True).session(kernels).run(None, feeds)


def _float_session(
    kernels: Path,
    op_type: str,
    inputs: Mapping[str, int],
    constants: Mapping[str, NDArray[np.float32]],
    attributes: Mapping[str, float],
    threads: int,
) -> onnxruntime.InferenceSession:
    return session(
        kernels,
        op_type,
        [*inputs, *constants],
        ["y"],
        inputs,
        constants,
        attributes,
        threads=threads,
    )


@settings(max_examples=15, deadline=None)
@given(lengths=LENGTHS, width=st.sampled_from([1, 7, 16, 50, 64]), has_norm=st.booleans())
def test_mean_computes_its_formula_and_is_bit_identical_alone(
    kernels: Path, lengths: list[int], width: int, has_norm: bool
) -> None:
    random = np.random.default_rng(width)
    # The last text has several parts, which threads share.
    texts = [_some(random, n, width) for n in [*lengths, 600]]
    weight = _some(random, width)
    types = {"x": TensorProto.FLOAT, "ends": TensorProto.INT64}

    def run(chosen: list[NDArray[np.float32]], threads: int) -> NDArray[np.float32]:
        node = _float_session(
            kernels,
            "Mean",
            types,
            {"weight": weight} if has_norm else {},
            {"epsilon": 1e-5},
            threads,
        )
        ends = np.cumsum([len(text) for text in chosen]).astype(np.int64)
        (y,) = node.run(None, {"x": np.concatenate(chosen), "ends": ends})
        return np.asarray(y)

    together = run(texts, 3)
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_array_equal(row, run([text], 1)[0])
        rows = text.astype(np.float64)
        if has_norm:
            deviation = np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)
            rows = (rows - rows.mean(axis=1, keepdims=True)) / deviation * weight
        np.testing.assert_allclose(row, rows.mean(axis=0), rtol=0, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    n_rows=st.integers(1, 9),
    depth=st.sampled_from([1, 5, 64]),
    columns=st.sampled_from([1, 2, 9, 64, 130]),
    has_bias=st.booleans(),
    activation=st.sampled_from([0, 1]),
)
def test_dense_computes_its_formula_and_is_bit_identical_alone(
    kernels: Path, n_rows: int, depth: int, columns: int, has_bias: bool, activation: int
) -> None:
    random = np.random.default_rng(n_rows)
    x, weight, bias = (
        _some(random, n_rows, depth),
        _some(random, depth, columns),
        _some(random, columns),
    )

    def run(rows: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
        constants = {"weight": weight} | ({"bias": bias} if has_bias else {})
        node = _float_session(
            kernels,
            "Dense",
            {"x": TensorProto.FLOAT},
            constants,
            {"activation": activation},
            threads,
        )
        (y,) = node.run(None, {"x": rows})
        return np.asarray(y)

    together = run(x, 3)
    expected = x.astype(np.float64) @ weight + (bias if has_bias else 0)
    if activation:
        expected = 0.5 * expected * (1 + erf(expected / np.sqrt(2)))
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-4)
    for i in range(n_rows):
        np.testing.assert_array_equal(together[i], run(x[i : i + 1], 1)[0])


def test_hostile_shapes_are_errors_of_mean_and_dense(kernels: Path) -> None:
    types = {"x": TensorProto.FLOAT, "ends": TensorProto.INT64}
    mean = _float_session(kernels, "Mean", types, {}, {"epsilon": 1e-5}, 1)
    x = np.zeros((4, 3), dtype=np.float32)
    for ends in ([3, 2], [-1], [5]):
        with pytest.raises(Exception, match="ends must rise"):
            mean.run(None, {"x": x, "ends": np.array(ends, dtype=np.int64)})
    with pytest.raises(Exception, match="must be \\[tokens, width\\]"):
        mean.run(None, {"x": x[0], "ends": np.array([1], dtype=np.int64)})
    weight = {"weight": np.zeros((2, 5), dtype=np.float32)}
    dense = _float_session(kernels, "Dense", {"x": TensorProto.FLOAT}, weight, {"activation": 0}, 1)
    with pytest.raises(Exception, match="its weight \\[depth, columns\\]"):
        dense.run(None, {"x": x})


def test_an_unknown_instruction_set_is_refused() -> None:
    assert library("abacus") is None


def test_sessions_of_the_same_weights_share_one_packed_copy(kernels: Path) -> None:
    packed = ctypes.CDLL(str(kernels)).hazgate_kernels_packed
    packed.restype = ctypes.c_int64
    gc.collect()
    before = packed()
    one, other = _case(depth=12), _case(depth=13)
    held = [one.session(kernels), one.session(kernels), one.session(kernels, threads=1)]
    assert packed() == before + 1
    held.append(other.session(kernels))
    assert packed() == before + 2
    held.clear()
    gc.collect()
    assert packed() == before


def test_pairs_that_saturate_in_sixteen_bits_are_exact(kernels: Path) -> None:
    case = LinearCase(
        weights=[np.full((64, 16), 127, dtype=np.int8)], scales=[np.ones(16, dtype=np.float32)]
    )
    (y,) = case.session(kernels).run(None, {"x": np.full((3, 64), 2.0, dtype=np.float32)})
    np.testing.assert_allclose(y, 2.0 * 127 * 64, rtol=1e-6)
