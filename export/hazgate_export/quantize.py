"""int8 by ONNX Runtime's dynamic quantisation: the plain starting point.

Weights are symmetric per output column; activations get one scale for the whole batch at run
time, so a variant made here is not batch-invariant and the runtime gives it one text at a time.
"""

import logging
from pathlib import Path

import onnx

SCHEME = "dynamic: weights s8 per column, activations u8 per run"


def quantize_dynamic_int8(fp32: Path, int8: Path) -> None:
    """Writes `fp32` with its large matrix products in int8, weights in `int8`.data beside it.

    The embedding table, norms, pooler and classifier stay float32.

    Raises:
        ValueError: nothing was quantised, so the file would not be what its name says.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    disabled = logging.root.manager.disable
    # It logs advice to the root logger that is taken here: shapes were inferred before.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            fp32,
            int8,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True},
        )
    finally:
        logging.disable(disabled)
    graph = onnx.load(int8, load_external_data=False).graph
    if not any(node.op_type == "MatMulInteger" for node in graph.node):
        raise ValueError(f"{int8.name}: no MatMul was quantised")
