"""Quantised weights are near the weights, and their products exact on every processor."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hazgate.engine.providers.table import CPU
from hazgate_export.author.linear import quantize_columns

WIDTHS = st.integers(min_value=1, max_value=40)


@given(seed=st.integers(min_value=0, max_value=2**32 - 1), width=WIDTHS)
@settings(deadline=None, max_examples=50)
def test_columns_are_quantised_to_half_a_step(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    weight = (random.normal(size=(width, 5)) * random.lognormal(0, 3, size=5)).astype(np.float32)
    weight[:, 0] = 0
    int8, scale = quantize_columns(weight)
    assert int8.min() >= -127
    assert (np.abs(int8 * scale - weight) <= 0.501 * scale).all()


def _in_16_bits(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """u8 [n, width] @ s8 [width, out] as vpmaddubsw adds it: neighbours' products saturate."""
    products = activations[:, :, None].astype(np.int32) * weights.astype(np.int32)
    products = np.pad(products, ((0, 0), (0, products.shape[1] % 2), (0, 0)))
    pairs = np.clip(products[:, 0::2] + products[:, 1::2], -(2**15), 2**15 - 1)
    return np.asarray(pairs.sum(axis=1))


def _greedy(weights: np.ndarray) -> np.ndarray:
    """The activations that bring each column's sum as high, and as low, as they can."""
    return np.concatenate([255 * (weights.T > 0), 255 * (weights.T < 0)]).astype(np.uint8)


@given(seed=st.integers(min_value=0, max_value=2**32 - 1), width=WIDTHS)
@settings(deadline=None, max_examples=50)
def test_no_activation_saturates_the_16_bit_sums_of_quantised_columns(
    seed: int, width: int
) -> None:
    random = np.random.default_rng(seed)
    # Near its largest value everywhere: what saturates first.
    weight = random.choice([-1, 1], size=(width, 6)) * random.uniform(0.9, 1, size=(width, 6))
    int8, _ = quantize_columns(weight.astype(np.float32))
    activations = _greedy(int8)
    exact = activations.astype(np.int32) @ int8.astype(np.int32)
    np.testing.assert_array_equal(_in_16_bits(activations, int8), exact)


def test_columns_that_only_respect_int8_would_saturate_the_16_bit_sums() -> None:
    int8 = np.full((4, 1), 127, dtype=np.int8)
    activations = _greedy(int8)
    assert (_in_16_bits(activations, int8) != activations.astype(np.int32) @ int8).any()


@pytest.mark.parametrize("n_rows", [1, 2, 3, 17, 64])
@pytest.mark.parametrize("width", [1, 4, 7, 384, 1153])
def test_this_processors_kernels_multiply_quantised_columns_exactly(
    n_rows: int, width: int
) -> None:
    random = np.random.default_rng(width)
    weight = random.choice([-1, 1], size=(width, 33)) * random.uniform(0.7, 1, size=(width, 33))
    int8, _ = quantize_columns(weight.astype(np.float32))
    activations = random.choice(_greedy(int8), size=n_rows)
    product = _multiply(activations, int8)
    np.testing.assert_array_equal(product, activations.astype(np.int32) @ int8.astype(np.int32))


def _multiply(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """By ONNX Runtime, the weights constant as in a model."""
    sides = (activations.shape[0], weights.shape[1])
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, activations.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, sides)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[CPU])
    (product,) = session.run(None, {"x": activations})
    return np.asarray(product)
