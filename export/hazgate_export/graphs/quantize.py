"""int8 for a portable graph by ONNX Runtime's own quantisers, in two schemes.

`dynamic`: weights are symmetric per output column; activations get one scale for the whole batch
at run time. It is not batch-invariant, so the runtime gives it one text at a time.

`blockwise`: MatMulNBits with 8 bits and accuracy level 4; weights and activations get a scale for
every row and block of 32, so neighbours and padding take no part.

The embedding table, norms, pooler and classifier stay float32 in both.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from hazgate.engine.telemetry import disable_telemetry
from hazgate_export.graphs.portable import save
from hazgate_export.schemes import PortableInt8Scheme

# The block size with fast kernels that keeps most decisions.
_BLOCK_SIZE = 32
_OPERATORS: dict[PortableInt8Scheme, str] = {"dynamic": "MatMulInteger", "blockwise": "MatMulNBits"}


def quantize_int8(fp32: Path, int8: Path, scheme: PortableInt8Scheme) -> None:
    """Write `fp32` with its large matrix products in int8, weights in `int8`.data next to it.

    Raises:
        ValueError: nothing was quantised.
    """
    with _quiet():
        if scheme == "dynamic":
            _quantize_dynamic(fp32, int8)
        else:
            _quantize_blockwise(fp32, int8)
    graph = onnx.load(int8, load_external_data=False).graph
    if not any(node.op_type == _OPERATORS[scheme] for node in graph.node):
        raise ValueError(f"{int8.name}: no MatMul was quantised; use precision fp32")


def _quantize_dynamic(fp32: Path, int8: Path) -> None:
    disable_telemetry()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        fp32,
        int8,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        # x86 kernels without VNNI add pairs of products in 16 bits: 7-bit weights keep them exact.
        reduce_range=True,
        use_external_data_format=True,
        extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True},
    )


def _quantize_blockwise(fp32: Path, int8: Path) -> None:
    disable_telemetry()
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        onnx.load(fp32),
        bits=8,
        block_size=_BLOCK_SIZE,
        is_symmetric=True,
        # Without it ONNX Runtime multiplies in float32.
        accuracy_level=4,
        quant_format=QuantFormat.QOperator,
        op_types_to_quantize=("MatMul",),
    )
    quantizer.process()
    save(quantizer.model.model, int8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantisers, which log to the root logger."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
