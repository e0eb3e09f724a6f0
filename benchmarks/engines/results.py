"""The committed numbers of the engines: one JSON document a run."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.harness.machine import Machine


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """What a text costs: multiplications of weights a token, and attention's width and layers.

    `reach` is the window's to each side, 0 where every layer is global.
    """

    macs_per_token: int
    hidden: int
    n_global: int
    n_local: int
    reach: int

    def operations(self, tokens: int) -> float:
        """Additions and multiplications that one text of `tokens` needs, and no padding."""
        return 2.0 * tokens * self.macs_per_token + self.attention_operations(tokens)

    def attention_operations(self, tokens: int) -> float:
        """Those of them that are attention's."""
        local = min(tokens, 2 * self.reach + 1)
        keys = self.n_global * tokens + self.n_local * local
        return 4.0 * tokens * self.hidden * keys


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineQuality:
    """Distance from PyTorch over the corpus: logits, and how many texts get another label."""

    p50_abs_logit_diff: float
    p99_abs_logit_diff: float
    max_abs_logit_diff: float
    decisions_changed: int
    n_texts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFigures:
    """What is measured of an engine once; `failure` says why there is nothing more of it.

    `load_s` is from the start of loading to the first answer; resident sets include mapped
    weights as far as they were touched.
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
    """A workload as it was; `padded_share` of the positions computed were padding."""

    name: str
    kind: str
    n_texts: int
    tokens: int | None
    padded_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineRound:
    """The seconds of one engine's calls of one workload in one round."""

    round: int
    workload: str
    engine: str
    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineComparison:
    """Everything that one run of `benchmarks.engines.run` measured.

    `peak` has the operations a second of the machine's matrix kernels, by precision.
    """

    schema_version: int
    name: str
    level: str
    bundle_digest: str
    date: str
    command: str
    machine: Machine
    threads: int
    shape: ModelShape
    peak: Mapping[str, float]
    workloads: tuple[WorkloadOfEngines, ...]
    engines: tuple[EngineFigures, ...]
    rounds: tuple[EngineRound, ...]
