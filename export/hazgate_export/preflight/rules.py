"""Rules for the nodes that a release refuses, and those that its compiler cannot read.

Follows IsNodeSupported and GetCapability of ONNX Runtime's MIGraphX execution provider
(onnxruntime/core/providers/migraphx/migraphx_execution_provider.cc), and the parsers in
src/onnx/ of AMDMIGraphX. Their lists are data, in this package's TOML file; here is their logic.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from hazgate_export.preflight.table import ProviderRelease

Verdict = Literal["one subgraph", "cannot be compiled", "partitioned", "all CPU"]

_ONNX_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeProblem:
    """One thing that keeps a node, or with `operator` "" the whole graph, off the device.

    `refused` means that the provider leaves the node to the CPU; otherwise it takes the node and
    fails to compile it.
    """

    operator: str
    node: str
    refused: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PreflightResult:
    """A release's verdict on a graph at one shape of its inputs, [batch, sequence]."""

    graph: str
    target: str
    shape: tuple[int, int]
    n_nodes: int
    problems: tuple[NodeProblem, ...]
    max_refused_nodes: int | None

    @property
    def n_refused(self) -> int:
        """Number of nodes that the provider leaves to the CPU."""
        return sum(problem.refused for problem in self.problems)

    @property
    def verdict(self) -> Verdict:
        """Place where the graph will run.

        "one subgraph": on the device, whole. "cannot be compiled": the provider takes it, and
        opening it fails, or waits for the first run. "partitioned": in pieces. "all CPU": not on
        the device at all, which no provider reports as an error.
        """
        if self.max_refused_nodes is not None and self.n_refused > self.max_refused_nodes:
            return "all CPU"
        if self.n_refused:
            return "partitioned"
        return "cannot be compiled" if self.problems else "one subgraph"

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """The number of nodes for each operator and reason, most first."""
        return dict(Counter((p.operator, p.why) for p in self.problems).most_common())


def judge(
    model: ModelProto, target: ProviderRelease, *, graph: str, shape: tuple[int, int]
) -> PreflightResult:
    """Judge a graph, as the provider receives it, by the rules of `target`.

    Args:
        model: with fixed dimensions and after ONNX Runtime's basic optimisation; only types and
            shapes that it states are judged. Its weights need no data.
        target: the release.
        graph: its name, for reports.
        shape: the fixed dimensions.
    """
    facts = _Facts.of(model)
    problems = list(_graph_problems(model, target))
    for node in model.graph.node:
        refusal = _refusal(node, facts, target)
        if refusal is not None:
            problems.append(_problem(node, refusal, refused=True))
        else:
            problems.extend(
                _problem(node, why, refused=False) for why in _unreadable(node, facts, target)
            )
    return PreflightResult(
        graph=graph,
        target=target.name,
        shape=shape,
        n_nodes=len(model.graph.node),
        problems=tuple(problems),
        max_refused_nodes=target.max_refused_nodes,
    )


def _problem(node: NodeProto, why: str, *, refused: bool) -> NodeProblem:
    return NodeProblem(
        operator=node.op_type, node=node.name or node.output[0], refused=refused, why=why
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """Facts about a graph's values: constants, producers, types and shapes."""

    initializers: frozenset[str]
    inputs: frozenset[str]
    producers: Mapping[str, NodeProto]
    types: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, model: ModelProto) -> "_Facts":
        graph = model.graph
        values = [*graph.input, *graph.output, *graph.value_info]
        return cls(
            initializers=frozenset(tensor.name for tensor in graph.initializer),
            inputs=frozenset(value.name for value in graph.input),
            producers={name: node for node in graph.node for name in node.output},
            types={
                **{v.name: _type_name(v.type.tensor_type.elem_type) for v in values},
                **{t.name: _type_name(t.data_type) for t in graph.initializer},
            },
            shapes={
                **{
                    v.name: tuple(dim.dim_value for dim in v.type.tensor_type.shape.dim)
                    for v in values
                    if v.type.tensor_type.HasField("shape")
                },
                **{t.name: tuple(t.dims) for t in graph.initializer},
            },
        )

    def is_derivable(self, name: str) -> bool:
        """Tell whether constants and shapes alone decide a value: canEvalShapeGeneral.

        Written without recursion: position tables hang on chains longer than Python's stack.
        """
        seen: set[str] = set()
        open_names = [name]
        while open_names:
            value = open_names.pop()
            if value in self.initializers or value in seen:
                continue
            seen.add(value)
            producer = self.producers.get(value)
            if producer is None:
                return False
            if producer.op_type != "Shape":
                open_names.extend(producer.input)
        return True


def _type_name(element_type: int) -> str:
    return TensorProto.DataType.Name(element_type)


def _graph_problems(model: ModelProto, target: ProviderRelease) -> Iterator[NodeProblem]:
    """Find problems of the signature: dimensions that are not numbers, and opsets."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        open_dims = [dim.dim_param or "?" for dim in dims if not dim.HasField("dim_value")]
        if open_dims:
            yield NodeProblem(
                operator="",
                node=value.name,
                refused=False,
                why=f"{', '.join(open_dims)} of input {value.name} is no number, so every new "
                "shape compiles inside a run",
            )
    # The parser goes by the largest number, whatever domain it belongs to.
    opset = max(entry.version for entry in model.opset_import)
    if not target.first_opset <= opset <= target.last_opset:
        yield NodeProblem(
            operator="",
            node="",
            refused=False,
            why=f"opset {opset} is not from {target.first_opset} to {target.last_opset}",
        )


def _refusal(node: NodeProto, facts: _Facts, target: ProviderRelease) -> str | None:
    """Give the reason why the provider leaves `node` to the CPU; None if it takes it."""
    names = [name for name in (*node.input, *node.output) if name]
    foreign = sorted({facts.types[name] for name in names if name in facts.types} - target.types)
    if foreign:
        return f"element type {', '.join(foreign)}"
    if node.op_type not in target.operators:
        return "not in its list of operators"
    if node.domain not in _ONNX_DOMAINS:
        return None
    if node.op_type == "MatMulInteger" and not target.zero_points and len(node.input) != 2:
        return "zero points"
    for index in target.argument_inputs.get(node.op_type, ()):
        if index < len(node.input) and not facts.is_derivable(node.input[index]):
            return f"input {index} is computed from data"
    return None


def _unreadable(node: NodeProto, facts: _Facts, target: ProviderRelease) -> Iterator[str]:
    """Give the reasons why the compiler cannot read a node that the provider takes."""
    if node.op_type in target.no_parser:
        yield "MIGraphX has no parser for it"
    since = target.parser_since.get(node.op_type)
    if since and target.compiler and _version(target.compiler) < _version(since):
        yield f"MIGraphX has a parser since {since}, this release has {target.compiler}"
    yield from _PARSER_LIMITS.get(node.op_type, _no_limits)(node, facts)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _no_limits(_node: NodeProto, _facts: _Facts) -> Iterator[str]:
    return iter(())


def _skip_layer_normalization(node: NodeProto, _facts: _Facts) -> Iterator[str]:
    """parse_skip_layer_normalization.cpp: from four inputs on, beta must be there."""
    if len(node.input) >= 4 and not node.input[3]:
        yield "beta is empty, but an input follows it"


def _rotary_embedding(node: NodeProto, _facts: _Facts) -> Iterator[str]:
    """parse_rotary_embedding.cpp, parse_attributes."""
    given = _attributes(node)
    if bool(given.get("num_heads", 0)) != bool(given.get("rotary_embedding_dim", 0)):
        yield "num_heads and rotary_embedding_dim go together"
    if given.get("scale", 1.0) != 1.0:
        yield "scale is not 1"
    if given.get("is_packed_batching", 0):
        yield "packed batching"


def _multi_head_attention(node: NodeProto, facts: _Facts) -> Iterator[str]:
    """parse_multi_head_attention.cpp: attention_bias must be [batch, heads, queries, keys]."""
    query, bias = facts.shapes.get(_input(node, 0)), facts.shapes.get(_input(node, 5))
    if bias is None or query is None:
        if _input(node, 5):
            yield "the shape of attention_bias is not known"
        return
    if bias[:2] != (query[0], _attributes(node).get("num_heads", 0)):
        yield f"attention_bias {list(bias)} is to be broadcast"


def _attention(node: NodeProto, facts: _Facts) -> Iterator[str]:
    """parse_attention.cpp: the contrib operator without its later inputs."""
    mask = facts.shapes.get(_input(node, 3), ())
    for what, is_there in {
        "past": bool(_input(node, 4)),
        "attention_bias": bool(_input(node, 5)),
        "do_rotary": bool(_attributes(node).get("do_rotary", 0)),
        "a mask of three dimensions": len(mask) == 3,
    }.items():
        if is_there:
            yield f"{what} is not read"


_PARSER_LIMITS: Mapping[str, Callable[[NodeProto, _Facts], Iterator[str]]] = {
    "Attention": _attention,
    "MultiHeadAttention": _multi_head_attention,
    "RotaryEmbedding": _rotary_embedding,
    "SkipLayerNormalization": _skip_layer_normalization,
}


def _input(node: NodeProto, index: int) -> str:
    return next(itertools.islice(node.input, index, None), "")


def _attributes(node: NodeProto) -> dict[str, float]:
    return {
        attribute.name: onnx.helper.get_attribute_value(attribute)
        for attribute in node.attribute
        if attribute.type in (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT)
    }


def preflight_table(judgements: Sequence[PreflightResult]) -> str:
    """Write results as text: a line each, and under it the problems, most frequent first."""
    lines = []
    for found in judgements:
        batch, sequence = found.shape
        refused = f", {found.n_refused} refused" if found.n_refused else ""
        lines.append(
            f"{found.graph}  {found.target}  {batch}x{sequence}  {found.verdict} "
            f"({found.n_nodes} nodes{refused})"
        )
        lines.extend(
            f"{n_nodes:8}  {operator or 'the graph'}: {why}"
            for (operator, why), n_nodes in found.counts.items()
        )
    return "\n".join(lines)


def preflight_document(judgements: Sequence[PreflightResult]) -> list[dict[str, Any]]:
    """Return results as data, as `preflight --json` prints them."""
    return [
        {**dataclasses.asdict(found), "verdict": found.verdict, "n_refused": found.n_refused}
        for found in judgements
    ]
