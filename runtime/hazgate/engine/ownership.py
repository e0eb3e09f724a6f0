"""Proof of which execution provider owns which node of an opened graph."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hazgate.engine.buckets import Bucket
from hazgate.engine.providers.table import ProviderSpec
from hazgate.errors import ProviderError

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"

# Operators that a provider may leave to the CPU by design: copies, and arithmetic of shapes.
_SHAPE_OPS = frozenset(
    [
        "Memcpy",
        "MemcpyFromHost",
        "MemcpyToHost",
        "Shape",
        "Gather",
        "Concat",
        "Unsqueeze",
        "Squeeze",
        "Slice",
        "Range",
        "Cast",
        "ConstantOfShape",
    ]
)
# The first ONNX Runtime release that reports which provider owns which node.
_ASSIGNMENT_RELEASE = (1, 24)


def prove_ownership(
    ort: Any,  # noqa: ANN401
    session: Any,  # noqa: ANN401
    name: str,
    spec: ProviderSpec,
    bucket: Bucket | None,
) -> Mapping[str, int]:
    """Count nodes per provider. The CPU may own shape operators only.

    Raises:
        ProviderError: the provider does not own the graph.
    """
    if says_owners(ort):
        nodes = [
            (part.ep_name, node.op_type)
            for part in session.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]
    else:
        nodes = _profiled(session, bucket or Bucket(1, 8))
    foreign = sorted({op for owner, op in nodes if owner != spec.name} - _SHAPE_OPS)
    owners = Counter(owner for owner, _ in nodes)
    if not owners[spec.name] or foreign:
        raise ProviderError(
            f"{spec.name} was requested but owns {owners[spec.name]} of {len(nodes)} nodes of "
            f"{name}; others run {', '.join(foreign) or 'the rest'}. hazgate-export preflight "
            "lists the nodes that it refuses; request cpu to run there on purpose"
        )
    return dict(owners)


def _profiled(session: Any, bucket: Bucket) -> list[tuple[str, str]]:  # noqa: ANN401
    """Return owner and type of each node, from ONNX Runtime's profile of a run of zeros."""
    ids = np.zeros((bucket.batch, bucket.tokens), dtype=np.int64)
    try:
        session.run([OUTPUT], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    finally:
        # The file lies in a folder that was made for it.
        file = Path(session.end_profiling())
        events = json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
        file.parent.rmdir()
    return [
        (event["args"]["provider"], event["args"]["op_name"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]


def says_owners(ort: Any) -> bool:  # noqa: ANN401 - a module without type information
    """Return True if this ONNX Runtime reports which provider owns which node."""
    return tuple(int(part) for part in ort.__version__.split(".")[:2]) >= _ASSIGNMENT_RELEASE
