"""What one run of `benchmarks.engines.roofline` measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.harness.machine import Machine


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """One operator at one length: medians of interleaved rounds' medians.

    `operations` are the multiplications and additions that it needs, `moved_bytes` its weights
    and activations, each once.
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
    """Everything; `peaks` are operations a second of int8 and fp32, and bytes of memory.

    `node_us` is what a node of a graph costs beside what it computes.
    """

    schema_version: int
    date: str
    command: str
    machine: Machine
    threads: int
    instruction_set: str
    peaks: Mapping[str, float]
    node_us: float
    steps: tuple[StepTimes, ...]

    def bound_ms(self, step: StepTimes) -> float:
        """What the step takes at least: its operations at their peak, or its bytes."""
        peak = self.peaks["int8" if step.kind == "linear" else "fp32"]
        return 1e3 * max(step.operations / peak, step.moved_bytes / self.peaks["memory"])

    def layer_ms(self, tokens: int) -> float:
        """One layer with local attention, its operators by themselves."""
        return sum(s.ours_ms for s in self.steps if s.tokens == tokens and s.name != "global")
