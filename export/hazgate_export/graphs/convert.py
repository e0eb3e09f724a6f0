"""Export of a merged model as a portable graph: plain operators, dynamic axes."""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from transformers import PreTrainedModel

from hazgate.engine.telemetry import disable_telemetry
from hazgate_export.graphs.portable import MASKED_SCORE, OUTPUT, POOLING, check, save
from hazgate_export.quiet import quiet_transformers


def export_onnx(model: PreTrainedModel, file: Path, opset: int, *, per_token: bool = False) -> None:
    """Write `model` as a portable graph with its weights in `file`.data next to it.

    Inputs are `input_ids` and `attention_mask`, int64 [batch, sequence]; the output is `logits`,
    float32 [batch, n_labels] or, `per_token`, [batch, sequence, n_labels]. Segment ids, where a
    family has them, are zeros made inside.

    Raises:
        ValueError: Optimum gave a graph with another signature, or with other than plain
            operators.
    """
    # Optimum imports ONNX Runtime.
    disable_telemetry()
    from optimum.exporters.onnx import onnx_export_from_model

    with tempfile.TemporaryDirectory(dir=file.parent) as folder, _quiet():
        onnx_export_from_model(
            model,
            folder,
            opset=opset,
            task="token-classification" if per_token else "text-classification",
            do_validation=False,
            device="cpu",
        )
        graph = onnx.load(Path(folder) / "model.onnx")
    _name_axes(graph, per_token=per_token)
    _fix_segments(graph)
    _pool_by_product(graph)
    _mask_finitely(graph)
    save(graph, file)
    check(file)


def _name_axes(graph: onnx.ModelProto, *, per_token: bool) -> None:
    for value in (*graph.graph.input, *graph.graph.output):
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param = "batch"
        if value.name != OUTPUT or per_token:
            dims[1].dim_param = "sequence"


def _fix_segments(graph: onnx.ModelProto) -> None:
    """Replace the input `token_type_ids` by zeros of the shape of `input_ids`."""
    kept = [value for value in graph.graph.input if value.name != "token_type_ids"]
    if len(kept) == len(graph.graph.input):
        return
    del graph.graph.input[:]
    graph.graph.input.extend(kept)
    zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["token_type_shape"], name="token_type_shape"),
        helper.make_node(
            "ConstantOfShape",
            ["token_type_shape"],
            ["token_type_ids"],
            name="token_type_ids",
            value=zero,
        ),
        *graph.graph.node,
    ]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _mask_finitely(graph: onnx.ModelProto) -> None:
    """Raise every constant below the range of half to `MASKED_SCORE`."""
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(attribute.t)
                if (values < np.finfo(np.float16).min).any():
                    raised = np.maximum(values, np.float32(MASKED_SCORE))
                    attribute.t.CopyFrom(numpy_helper.from_array(raised))


def _pool_by_product(graph: onnx.ModelProto) -> None:
    """Sum hidden states under the mask as one product, [batch, 1, sequence] times them.

    MIGraphX has failed to read Optimum's broadcast of the mask.
    """
    producers = {name: node for node in graph.graph.node for name in node.output}
    nodes = []
    for node in graph.graph.node:
        hidden = _masked(node, producers) if node.op_type == "ReduceSum" else None
        if hidden is None:
            nodes.append(node)
            continue
        one = numpy_helper.from_array(np.array([1], dtype=np.int64))
        nodes += [
            helper.make_node("Constant", [], ["pool_axis"], name="pool_axis", value=one),
            helper.make_node(
                "Unsqueeze", ["attention_mask", "pool_axis"], ["pool_row"], name="pool_row"
            ),
            helper.make_node(
                "Cast", ["pool_row"], ["pool_mask"], name="pool_mask", to=TensorProto.FLOAT
            ),
            helper.make_node("MatMul", ["pool_mask", hidden], ["pooled"], name=POOLING),
            helper.make_node("Squeeze", ["pooled", "pool_axis"], node.output, name=node.name),
        ]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _masked(total: NodeProto, producers: Mapping[str, NodeProto]) -> str | None:
    """Find the values that `total` sums after a product with the mask; None if it sums others."""
    product = producers.get(total.input[0])
    if product is None or product.op_type != "Mul":
        return None
    for hidden, factor in (product.input, reversed(product.input)):
        cast = producers.get(factor)
        mask = producers.get(cast.input[0]) if cast and cast.op_type == "Cast" else None
        if mask and mask.op_type == "Unsqueeze" and mask.input[0] == "attention_mask":
            return str(hidden)
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optimum's notes on tracing off the terminal; parity is checked, not hoped for."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet_transformers(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
