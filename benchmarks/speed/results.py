"""Results of the speed benchmark: one JSON document per run."""

from dataclasses import dataclass

from benchmarks.harness.statistics import Percentiles
from benchmarks.harness.store import ResultHeader
from hazgate_export.parity import Parity


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadFigures:
    """A workload as it was run: `n_texts` per turn, `tokens` of each if that is fixed."""

    name: str
    title: str
    kind: str
    n_texts: int
    tokens: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """The distance of a system's answers from the reference's over the proof texts.

    The logit difference is the greatest of both levels. A text's decision is changed if either
    level decides otherwise; no margin is granted.
    """

    max_abs_logit_diff: float
    decisions_changed: int
    n_texts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedSystemFigures:
    """Figures of a system that are taken once; `quality` is None for the reference itself.

    `load_s` is from the start of its process to both levels loaded. Resident sets include the
    parts of mapped weight files that were touched.
    """

    name: str
    title: str
    load_s: float
    loaded_rss_bytes: int
    peak_rss_bytes: int
    size_bytes: int
    quality: Quality | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundFigures:
    """Figures of one turn; `latency` is None where all texts are one call."""

    round: int
    workload: str
    system: str
    total_s: float
    latency: Percentiles | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedResults:
    """All that one run of `benchmarks.speed.run` measured."""

    header: ResultHeader
    seed: int
    reference: str
    baseline: str
    workloads: tuple[WorkloadFigures, ...]
    systems: tuple[SpeedSystemFigures, ...]
    rounds: tuple[RoundFigures, ...]
    parity: tuple[Parity, ...]

    @property
    def setting(self) -> str:
        """Machine and threads in one line, for a table's head or a plot's title."""
        threads = self.header.threads or 1
        return f"{self.header.host.summary}, {threads} thread{'s' * (threads > 1)}"
