"""The inputs and outputs that a level's graph must have."""

from typing import Any

from hazgate.engine.buckets import Bucket
from hazgate.engine.early_graph import INPUT_TYPES, POOLED, EarlyGraph
from hazgate.engine.ownership import INPUTS, OUTPUT
from hazgate.errors import BundleError


def check_signature(
    session: Any,  # noqa: ANN401 - ONNX Runtime's, which one file alone knows
    name: str,
    n_columns: int,
    bucket: Bucket | None,
    *,
    per_token: bool,
    early: EarlyGraph | None,
) -> None:
    """Refuse a graph of another signature.

    Args:
        session: an open session of ONNX Runtime.
        name: the graph's name, for errors.
        n_columns: of its logits.
        bucket: the only shape that the session takes; None for any.
        per_token: True if it has logits of each token.
        early: its early exits; None without.

    Raises:
        BundleError: inputs or outputs are others; says which were expected.
    """
    inputs = {node.name: node.type for node in session.get_inputs()}
    shapes = {node.name: list(node.shape) for node in session.get_inputs()}
    if bucket is not None and [*shapes.values()] != [[bucket.batch, bucket.tokens]] * len(INPUTS):
        raise BundleError(
            f"{name}: expected inputs fixed to {bucket}, got {[*shapes.values()]}: their "
            "dimensions must be named batch and sequence"
        )
    outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    expected = dict.fromkeys(INPUTS, "tensor(int64)")
    if early is not None:
        expected |= INPUT_TYPES
        outputs.pop(POOLED, None)
    if inputs != expected:
        raise BundleError(f"{name}: expected the inputs {expected}, got {inputs}")
    if early is not None:
        early.check_inputs(shapes)
    kind, shape = outputs.get(OUTPUT, ("", []))
    axes = ["batch", *(["sequence"] if per_token else []), str(n_columns)]
    fits = kind == "tensor(float)" and len(shape) == len(axes) and shape[-1] == n_columns
    if len(outputs) != 1 or not fits:
        raise BundleError(
            f"{name}: expected one float output {OUTPUT} [{', '.join(axes)}], got {outputs}"
        )
