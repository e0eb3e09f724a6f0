"""Results of the engines' benchmark: one JSON document per run."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.harness.store import ResultHeader


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The cost of a text: multiplications of weights per token, attention's width and layers.

    `reach` is the window's length to each side, 0 where every layer is global.
    """

    macs_per_token: int
    hidden: int
    n_global: int
    n_local: int
    reach: int

    def operations(self, tokens: int) -> float:
        """Count additions and multiplications of one text of `tokens`, without padding."""
        return 2.0 * tokens * self.macs_per_token + self.attention_operations(tokens)

    def attention_operations(self, tokens: int) -> float:
        """Count those of attention."""
        local = min(tokens, 2 * self.reach + 1)
        keys = self.n_global * tokens + self.n_local * local
        return 4.0 * tokens * self.hidden * keys


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineQuality:
    """Distance from PyTorch over the proof texts: logits, and texts with another label."""

    p50_abs_logit_diff: float
    p99_abs_logit_diff: float
    max_abs_logit_diff: float
    decisions_changed: int
    n_texts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFigures:
    """Figures of an engine that are taken once; `failure` says why the others are missing.

    `load_s` is from the start of loading to the first answer. Resident sets include the parts of
    mapped weights that were touched.
    """

    name: str
    title: str
    is_int8: bool
    size_bytes: int
    load_s: float | None
    loaded_rss_bytes: int | None
    peak_rss_bytes: int | None
    quality: EngineQuality | None
    failure: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadOfEngines:
    """A workload as it was run; `padded_share` of the computed positions were padding."""

    name: str
    kind: str
    n_texts: int
    tokens: int | None
    padded_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineRound:
    """Seconds of one engine's calls of one workload in one round."""

    round: int
    workload: str
    engine: str
    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineComparison:
    """All that one run of `benchmarks.engines.run` measured.

    `peak` has operations per second of the machine's matrix kernels, by precision.
    """

    header: ResultHeader
    level: str
    shape: ModelShape
    peak: Mapping[str, float]
    workloads: tuple[WorkloadOfEngines, ...]
    engines: tuple[EngineFigures, ...]
    rounds: tuple[EngineRound, ...]
