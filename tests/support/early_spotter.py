"""The bundle of tests.support.spotter with a variant whose texts may leave early.

Its probes read the mean of a text's words. "morning" is suspect to both; "good" to the first alone,
so that it leaves after layer 2; all other words leave after layer 1, also "world", which the whole
model flags: the probes miss it.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from hazgate.engine.exits import Exits
from tests.support.damage import edit_manifest, replace_file
from tests.support.exits import exits_data, exits_of
from tests.support.graphs import INPUTS, constant, serialised
from tests.support.spotter import write_spotter
from tests.support.tokenizers import GOOD, MORNING, WORDS, WORLD

VARIANT = "early"
PROBE_FILE = "level1-exits.json"
LAYERS = (1, 2)
# Of [CLS] and of every harmless word; see `early_graph`.
_HARMLESS, _FLAGGED = [9.0, -9.0], [9.0, 12.0]
_HIDDEN = len(WORDS) + 1
_SUSPECT, _BIAS = 1000.0, -9.0


def early_graph() -> bytes:
    """A graph with exits after the layers 1 and 2, whose logits are the spotter's.

    Pooled states are the shares of a text's tokens that are each word, at both exits.
    """
    table = np.array([_HARMLESS] * _HIDDEN, dtype=np.float32)
    table[[MORNING, WORLD]] = _FLAGGED
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        node("ReduceMax", ["rows", "one"], ["plain"], keepdims=0),
        node("Gather", ["eye", "input_ids"], ["words"], axis=0),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "two"], ["wide"]),
        node("Mul", ["words", "wide"], ["read"]),
        node("ReduceSum", ["read", "one"], ["sums"], keepdims=0),
        node("ReduceSum", ["mask", "one"], ["lengths"], keepdims=1),
        node("Div", ["sums", "lengths"], ["mean"]),
        node("Split", ["probes", "sizes"], ["weights", "biases"], axis=1),
        node("Transpose", ["weights"], ["columns"], perm=[1, 0]),
        node("Transpose", ["biases"], ["bias"], perm=[1, 0]),
        node("MatMul", ["mean", "columns"], ["products"]),
        node("Add", ["products", "bias"], ["odds"]),
        node("Less", ["odds", "limits"], ["would"]),
        node("Cast", ["would"], ["would_f"], to=TensorProto.FLOAT),
        node("ArgMax", ["would_f"], ["first"], axis=1, keepdims=1),
        node("ReduceMax", ["would_f", "one"], ["any"], keepdims=1),
        node("Gather", ["layers", "first"], ["layer"], axis=0),
        node("Mul", ["layer", "any"], ["exit"]),
        node("GatherElements", ["odds", "first"], ["odds_there"], axis=1),
        node("Unsqueeze", ["may_leave", "one"], ["may"]),
        node("Cast", ["any"], ["any_b"], to=TensorProto.BOOL),
        node("And", ["any_b", "may"], ["leaves"]),
        node("Mul", ["odds_there", "unsafe"], ["of_probe"]),
        node("Where", ["leaves", "of_probe", "plain"], ["labels"]),
        node("Mul", ["exit", "minus"], ["would_exit"]),
        node("Where", ["leaves", "exit", "would_exit"], ["column"]),
        node("Concat", ["labels", "column"], ["logits"], axis=1),
        node("Unsqueeze", ["mean", "one"], ["state"]),
        node("Concat", ["state", "state"], ["pooled"], axis=1),
    ]
    constants: dict[str, np.ndarray] = {
        "table": table,
        "eye": np.eye(_HIDDEN, dtype=np.float32),
        "one": np.array([1], dtype=np.int64),
        "two": np.array([2], dtype=np.int64),
        "sizes": np.array([_HIDDEN, 1], dtype=np.int64),
        "layers": np.array(LAYERS, dtype=np.float32),
        "unsafe": np.array([[0, 1]], dtype=np.float32),
        "minus": np.array([-1], dtype=np.float32),
    }
    info = helper.make_tensor_value_info
    return serialised(
        nodes,
        [constant(name, value) for name, value in constants.items()],
        [
            info("logits", TensorProto.FLOAT, ("batch", 3)),
            info("pooled", TensorProto.FLOAT, ("batch", len(LAYERS), _HIDDEN)),
        ],
        INPUTS,
        more_inputs=[
            info("may_leave", TensorProto.BOOL, ("batch",)),
            info("probes", TensorProto.FLOAT, (len(LAYERS), _HIDDEN + 1)),
            info("limits", TensorProto.FLOAT, (len(LAYERS),)),
        ],
    )


def early_exits(**changes: Any) -> Exits:  # noqa: ANN401 - any JSON value
    """Return the exits of the graph, with some fields of their file changed."""
    first, second = ([0.0] * _HIDDEN + [_BIAS] for _ in LAYERS)
    first[MORNING] = first[GOOD] = second[MORNING] = _SUSPECT
    return exits_of(
        exits_data(
            **{
                "graph_sha256": hashlib.sha256(early_graph()).hexdigest(),
                "weights_sha256": [],
                "after_layers": list(LAYERS),
                "probes": [first, second],
                "limits": [-4.0, -3.0],
                **changes,
            }
        )
    )


def write_early_spotter(tiny_bundle: Path, folder: Path) -> Path:
    """Write the bundle into a folder; its thresholds of the claim are those of `exits_data`."""
    bundle = write_spotter(tiny_bundle, folder)
    replace_file(bundle, "level1-early.onnx", early_graph())
    replace_file(bundle, PROBE_FILE, early_exits().dump())

    def add_variant(data: dict[str, Any]) -> None:
        data["schema_version"] = 4
        for name, level in data["levels"].items():
            early = {
                **level["variants"]["int8"],
                "data": [],
                "kind": "fused",
                "scheme": "per_token",
                "batching": "packed",
            }
            if name == "level1":
                early["graph"] = "level1-early.onnx"
                early["exits"] = {"file": PROBE_FILE, "after_layers": list(LAYERS)}
            level["variants"][VARIANT] = early

    edit_manifest(bundle, add_variant)
    return bundle
