"""Window attention of a portable graph, rewritten in blocks.

Optimum's graph computes all scores, [batch, heads, sequence, sequence], and masks those outside the
window: a GPU runs out of memory at 8,192 tokens, and most of the arithmetic is thrown away. Here
the sequence is cut into blocks of one window's reach. Each block reads its own keys and those of
its two neighbours, so cost and memory grow linearly with the length. The nodes are plain operators
without branches: with fixed dimensions, every shape is a constant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hazgate_export.graphs.portable import MASKED_SCORE, check


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attention:
    """One layer's attention over a window.

    `scores` multiplies queries by keys. `scale` names the constant that multiplies the scores, if
    there is one; `mask` is then added. `mixed` multiplies their softmax by `value`.
    """

    scores: NodeProto
    scale: str | None
    mask: str
    value: str
    mixed: NodeProto


def block_windows(file: Path) -> int:
    """Rewrite the layers of a portable graph that attend to a window; weights stay as they are.

    Args:
        file: a graph written by `convert.export_onnx`; nothing is written if no layer has a
            window.

    Returns:
        The number of layers that were rewritten.

    Raises:
        ValueError: a layer uses the window's mask in a way that this function does not know.
    """
    model = onnx.load(file, load_external_data=False)
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    constants = {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].HasField("t")
    }
    masks = _window_masks(graph.node, producers, constants)
    if not masks:
        return 0
    layers = _layers(graph.node, masks)
    writers = {name: _Blocks(reach, f"window_{i}") for i, (name, reach) in enumerate(masks.items())}
    replaced = {layer.mixed.output[0]: layer for layer in layers}
    nodes = [node for writer in writers.values() for node in writer.prepared()]
    for node in graph.node:
        layer = replaced.get(node.output[0])
        if layer is None:
            nodes.append(node)
            continue
        nodes.extend(writers[layer.mask].attention(layer))
    kept = _needed(nodes, {value.name for value in graph.output})
    del graph.node[:]
    graph.node.extend(kept)
    # They describe values that are gone.
    del graph.value_info[:]
    onnx.save_model(model, file)
    check(file)
    return len(layers)


def _window_masks(
    nodes: Iterable[NodeProto],
    producers: Mapping[str, NodeProto],
    constants: Mapping[str, NDArray[np.generic]],
) -> dict[str, int]:
    """Find the masks of windows: name of each, and its reach in tokens.

    Such a mask is `Where(not |i - j| <= reach, ...)`; the search goes from the `Where` upwards.
    """
    found = {}
    for node in nodes:
        if node.op_type != "Where":
            continue
        above = producers.get(node.input[0])
        while above is not None and above.op_type in ("Cast", "Not", "Unsqueeze"):
            above = producers.get(above.input[0])
        if above is None or above.op_type != "LessOrEqual":
            continue
        distance = producers.get(above.input[0])
        if distance is not None and distance.op_type == "Abs":
            found[node.output[0]] = int(constants[above.input[1]].item())
    return found


def _layers(nodes: Sequence[NodeProto], masks: Mapping[str, int]) -> list[_Attention]:
    """Find every use of the masks; each must be MatMul, Add, Softmax, MatMul."""
    producers = {name: node for node in nodes for name in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def reader(name: str) -> NodeProto:
        """Find the only reader of a value; casts to the type that it has are passed over."""
        found = readers.get(name, [])
        if len(found) != 1:
            raise ValueError(f"{name} is read by {len(found)} nodes, expected one")
        if found[0].op_type == "Cast" and found[0].attribute[0].i == TensorProto.FLOAT:
            return reader(found[0].output[0])
        return found[0]

    found = []
    for mask in masks:
        for masked in readers.get(mask, []):
            if masked.op_type == "Shape":
                continue
            scores, scale = _scores(masked, mask, producers)
            softmax = reader(masked.output[0])
            mixed = reader(softmax.output[0])
            if (softmax.op_type, mixed.op_type) != ("Softmax", "MatMul"):
                raise ValueError(
                    f"{masked.name} is followed by {softmax.op_type} and {mixed.op_type}, expected "
                    "Softmax and MatMul"
                )
            # Weights on the left: mixed = softmax(scores) V.
            value = mixed.input[1]
            found.append(
                _Attention(scores=scores, scale=scale, mask=mask, value=value, mixed=mixed)
            )
    return found


def _scores(
    masked: NodeProto, mask: str, producers: Mapping[str, NodeProto]
) -> tuple[NodeProto, str | None]:
    """Find Q K^T, to which `masked` adds the mask, and the constant that scales it, if any."""
    others = [name for name in masked.input if name != mask]
    scale = None
    scores = producers.get(others[0]) if masked.op_type == "Add" and len(others) == 1 else None
    if scores is not None and scores.op_type == "Mul":
        scale = scores.input[1]
        constant = producers.get(scale)
        scores = producers.get(scores.input[0])
        if constant is None or constant.op_type != "Constant":
            scores = None
    if scores is None or scores.op_type != "MatMul":
        raise ValueError(f"{masked.name} reads the window's mask, expected scores + mask")
    return scores, scale


class _Blocks:
    """A writer of attention with one reach; `prepared` writes once what all layers share.

    Shapes, with `n` blocks of `reach` tokens: queries [batch, heads, n, reach, width], keys
    [batch, heads, n, width, 3 reach], values [batch, heads, n, 3 reach, width].
    """

    def __init__(self, reach: int, name: str) -> None:
        self._reach = reach
        self._name = name
        self._nodes: list[NodeProto] = []

    def prepared(self) -> list[NodeProto]:
        """Write sizes, pads and the mask of all blocks, from the batch's own mask."""
        reach = self._reach
        self._nodes = []
        n_tokens = self._op("Shape", "attention_mask", to="n_tokens", start=1, end=2)
        step = self._ints("reach", reach)
        negative = self._op("Neg", n_tokens, to="minus_tokens")
        missing = self._op("Mod", negative, step, to="missing")
        whole = self._op("Add", n_tokens, missing, to="whole")
        behind = self._op("Add", missing, step, to="behind")
        none = self._ints("none", 0)
        self._op("Concat", *[none] * 6, missing, none, to="query_pads", axis=0)
        self._op("Concat", *[none] * 3, step, *[none] * 3, behind, to="key_pads", axis=0)
        self._op("Concat", *[none] * 2, step, *[none] * 3, behind, none, to="value_pads", axis=0)
        pads = self._op("Concat", none, step, none, behind, to="mask_pads", axis=0)
        # Where each of the three neighbours begins and ends, in blocks.
        n_blocks = self._op("Div", whole, step, to="n_blocks")
        for i in range(3):
            self._op("Add", n_blocks, self._ints(f"begin_{i}", i), to=f"end_{i}")
        mask = self._op("Cast", "attention_mask", to="is_token", dtype=TensorProto.FLOAT)
        one = self._constant("one", np.array(1, dtype=np.float32))
        masked = self._constant("masked", np.array(MASKED_SCORE, dtype=np.float32))
        absent = self._op("Sub", one, mask, to="is_absent")
        padding = self._op("Mul", absent, masked, to="padding")
        around = self._op("Pad", padding, pads, masked, to="padding_around")
        blocks = self._op("Reshape", around, self._ints("mask_shape", 0, -1, reach), to="mask_rows")
        beside = self._neighbours(blocks, axis=1, joined=2, to="mask_beside")
        keys = self._op("Unsqueeze", beside, self._ints("mask_axes", 1, 3), to="mask_keys")
        ahead = np.arange(3 * reach) - np.arange(reach)[:, None]
        band = np.where((ahead >= 0) & (ahead <= 2 * reach), 0, MASKED_SCORE)
        outside = self._constant("band", band.astype(np.float32))
        self._op("Add", keys, outside, to="mask")
        return self._nodes

    def attention(self, layer: _Attention) -> list[NodeProto]:
        """Write the nodes that replace the four of `layer`; the last output keeps its name."""
        shared, reach = self._name, self._reach
        self._nodes, self._name = [], layer.scores.name
        queries, keys = layer.scores.input

        def padded(x: str, pads: str) -> str:
            return self._op("Pad", x, f"{shared}/{pads}", to=f"{pads}_added")

        q = self._op(
            "Reshape",
            padded(queries, "query_pads"),
            self._shape("queries", x=queries, sizes=(0, 0, -1, reach), width=3),
            to="query_blocks",
        )
        k = self._op(
            "Reshape",
            padded(keys, "key_pads"),
            self._ints("keys_shape", 0, 0, 0, -1, reach),
            to="key_rows",
        )
        k = self._neighbours(k, axis=3, joined=4, to="key_beside", shared=shared)
        k = self._op("Transpose", k, to="key_blocks", perm=[0, 1, 3, 2, 4])
        v = self._op(
            "Reshape",
            padded(layer.value, "value_pads"),
            self._shape("values", x=layer.value, sizes=(0, 0, -1, reach), width=3),
            to="value_rows",
        )
        v = self._neighbours(v, axis=2, joined=3, to="value_blocks", shared=shared)
        scores = self._op("MatMul", q, k, to="scores")
        if layer.scale is not None:
            scores = self._op("Mul", scores, layer.scale, to="scaled_scores")
        scores = self._op("Add", scores, f"{shared}/mask", to="masked_scores")
        weights = self._op("Softmax", scores, to="weights", axis=-1)
        mixed = self._op("MatMul", weights, v, to="mixed")
        rows = self._op(
            "Reshape",
            mixed,
            self._shape("mixed", x=layer.value, sizes=(0, 0, -1), width=3),
            to="rows",
        )
        self._nodes.append(
            helper.make_node(
                "Slice",
                [
                    rows,
                    self._ints("first", 0),
                    f"{shared}/n_tokens",
                    self._ints("row_axis", 2),
                ],
                [layer.mixed.output[0]],
                name=f"{self._name}/whole",
            )
        )
        self._name = shared
        return self._nodes

    def _neighbours(
        self, x: str, *, axis: int, joined: int, to: str, shared: str | None = None
    ) -> str:
        """Join each block with the one before it and the one behind it.

        Args:
            x: blocks along `axis`, with one more at either end.
            axis: axis of the blocks; the result has `n` of them.
            joined: axis of a block's tokens; the result has three times as many.
            to: name of the result.
            shared: prefix of the names that `prepared` gave the ends, if not this writer's.
        """
        ends = shared or self._name
        parts = [
            self._op(
                "Slice",
                x,
                f"{ends}/begin_{i}",
                f"{ends}/end_{i}",
                self._ints(f"{to}_axis_{i}", axis),
                to=f"{to}_{i}",
            )
            for i in range(3)
        ]
        return self._op("Concat", *parts, to=to, axis=joined)

    def _shape(self, name: str, *, x: str, sizes: tuple[int, ...], width: int) -> str:
        """Write a shape: `sizes`, and then the size of `x` along axis `width`."""
        last = self._op("Shape", x, to=f"{name}_width", start=width, end=width + 1)
        return self._op(
            "Concat", self._ints(f"{name}_sizes", *sizes), last, to=f"{name}_shape", axis=0
        )

    def _ints(self, name: str, *values: int) -> str:
        return self._constant(name, np.array(values, dtype=np.int64))

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        return self._op("Constant", to=name, value=numpy_helper.from_array(values))

    def _op(
        self,
        op_type: str,
        *inputs: str,
        to: str,
        dtype: int | None = None,
        **attributes: Any,  # noqa: ANN401 - whatever an attribute may be
    ) -> str:
        name = f"{self._name}/{to}"
        if dtype is not None:
            attributes["to"] = dtype
        self._nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name


def _needed(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """List the nodes that compute `outputs`, in their order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.isdisjoint(node.output):
            continue
        kept.append(node)
        wanted.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                wanted.update(name for inner in attribute.g.node for name in inner.input)
    return kept[::-1]
