"""The contract of a portable graph: its signature, its operators, and how it is saved."""

from pathlib import Path

import onnx

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"

# Name of the product that pools, in graphs that take the mean.
POOLING = "masked_mean"
# Attention adds this to the score of padding. Its exponential is 0 in float32 and in half, where
# Optimum's -3.4e38 would be an infinity, and a row of padding not a number.
MASKED_SCORE = -1e4

# Smaller tensors stay in the graph, where shape inference needs them.
EXTERNAL_BYTES = 1024


def save(graph: onnx.ModelProto, file: Path) -> None:
    """Write a graph with its large tensors in `file`.data."""
    data = file.with_name(file.name + ".data")
    data.unlink(missing_ok=True)
    onnx.save_model(
        graph,
        file,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data.name,
        size_threshold=EXTERNAL_BYTES,
    )


def check(file: Path) -> None:
    """Check a portable graph against its contract.

    Raises:
        ValueError: wrong inputs, outputs or operators.
        onnx.checker.ValidationError: not a valid model.
        onnx.shape_inference.InferenceError: its shapes contradict each other.
    """
    onnx.checker.check_model(str(file), full_check=False)
    graph = onnx.load(file, load_external_data=False)
    onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True)
    inputs = tuple(value.name for value in graph.graph.input)
    outputs = tuple(value.name for value in graph.graph.output)
    if inputs != INPUTS or outputs != (OUTPUT,):
        raise ValueError(f"{file.name}: expected {INPUTS} -> {OUTPUT}, got {inputs} -> {outputs}")
    domains = {node.domain for node in graph.graph.node} - {"", "ai.onnx"}
    if domains:
        raise ValueError(
            f"{file.name}: expected plain ONNX operators, got the domains {sorted(domains)}"
        )
