"""Results of `benchmarks.engines.roofline`."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.harness.store import ResultHeader


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """One operator at one length: medians of interleaved rounds' medians.

    `operations` counts its multiplications and additions, `moved_bytes` its weights and
    activations, each once.
    """

    name: str
    title: str
    kind: str
    tokens: int
    ours_ms: float
    onnxruntime_ms: float
    operations: float
    moved_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Roofline:
    """All that one run measured.

    `peaks` has operations per second of int8 and fp32, and memory's bytes per second. `node_us`
    is the overhead of a graph's node, microseconds.
    """

    header: ResultHeader
    instruction_set: str
    peaks: Mapping[str, float]
    node_us: float
    steps: tuple[StepTimes, ...]

    def bound_ms(self, step: StepTimes) -> float:
        """Return the least time of the step: its operations at their peak, or its bytes."""
        peak = self.peaks["int8" if step.kind == "linear" else "fp32"]
        return 1e3 * max(step.operations / peak, step.moved_bytes / self.peaks["memory"])

    def layer_ms(self, tokens: int) -> float:
        """Sum the operators of one layer with local attention, each timed alone."""
        return sum(s.ours_ms for s in self.steps if s.tokens == tokens and s.name != "global")
