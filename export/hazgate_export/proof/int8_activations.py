"""int8 of an authored graph: the cheapest arithmetic that keeps the limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hazgate.cli.progress import step
from hazgate_export.author.families import BalancedWeights, write_fused, write_int8
from hazgate_export.proof.subject import Subject
from hazgate_export.proof.verify import TestedGraph, find_missed_of_graph
from hazgate_export.recipe import ParityLimits

# Two errors of a product (`choose.row_error`): up to the first it gets a static scale, up to the
# second per-token scales, beyond it float32. From the fastest graph to the most careful one.
_AUTHORED = ((0.1, 0.1), (0.05, 0.1), (0.03, 0.07), (0.02, 0.05), (0.0, 0.03))
# Beyond this error a product of the fused graph gets activations of 16 bits.
_FUSED = (0.1, 0.05, 0.035, 0.025, 0.018, 0.012, 0.0)

_Writer = Callable[[Path, int], Mapping[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cheapest:
    """The int8 graph that was chosen.

    Attributes:
        counts: number of products per arithmetic.
        error: the greatest of a product that the attempt allowed, with a scale for each token.
    """

    counts: Mapping[str, int]
    error: float


def write_cheapest_int8(
    balanced: BalancedWeights,
    kind: Literal["authored", "fused"],
    file: Path,
    opset: int,
    subject: Subject,
    limits: ParityLimits,
) -> Cheapest:
    """Write the cheapest int8 graph that keeps the limits, or the most careful one if none does.

    Each attempt runs the cases alone, those that earlier attempts missed before the others, and
    ends with the first miss. Neighbours are tried once a graph is chosen.

    Args:
        balanced: the merged model's weights and the activations that were observed.
        kind: the graph to write.
        file: receives the graph, its constants in `file`.data next to it.
        opset: of the ONNX domain.
        subject: the body.
        limits: what the variant must keep at every level on it.
    """
    missed: tuple[int, ...] = ()
    for name, error, write in _fused(balanced) if kind == "fused" else _authored(balanced):
        counts = write(file, opset)
        chosen = Cheapest(counts=counts, error=error)
        described = ", ".join(f"{n} {how}" for how, n in sorted(counts.items()))
        step(f"{subject.name}: int8, errors up to {name}: {described}")
        graph = TestedGraph(
            variant=f"int8 {name}",
            file=file,
            kind=kind,
            precision="int8",
            batching="alone",
            limits=limits,
        )
        found = find_missed_of_graph(subject, graph, missed)
        if not found:
            break
        step(f"{subject.name}: int8, errors up to {name}: missed at {subject.cases[found[-1]].id}")
        missed = (*found, *missed)
    return chosen


def _authored(balanced: BalancedWeights) -> list[tuple[str, float, _Writer]]:
    def writer(static: float, int8: float) -> _Writer:
        return lambda file, opset: write_int8(
            balanced, file, opset, static_error=static, int8_error=int8
        )

    return [
        (f"{static:.0%} / {int8:.0%}", int8, writer(static, int8)) for static, int8 in _AUTHORED
    ]


def _fused(balanced: BalancedWeights) -> list[tuple[str, float, _Writer]]:
    def writer(error: float) -> _Writer:
        return lambda file, opset: write_fused(balanced, file, opset, error=error)

    return [(f"{error:.1%}", error, writer(error)) for error in _FUSED]
