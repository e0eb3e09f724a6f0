"""Markdown tables, made from results files and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.statistics import Percentiles, RoundSpread, speedup, spread
from benchmarks.speed.results import (
    Quality,
    RoundFigures,
    SpeedResults,
    SpeedSystemFigures,
    WorkloadFigures,
)
from benchmarks.speed.workloads import BULK, TEXT
from hazgate_export.bundle.report import parity_table

CAVEAT = (
    "**These numbers hold for this machine, this model, these versions and this number of "
    "threads only;** measure on your own with the command above."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedRow:
    """One system on one workload, over all rounds.

    The latencies are None where all texts are one call. `vs_baseline` and `vs_reference` say how
    many times faster the system is than the merged and the adapter-applied PyTorch model: the
    median of the ratios within each round, of median latencies or, without these, of times.
    """

    workload: WorkloadFigures
    system: SpeedSystemFigures
    p5_ms: RoundSpread | None
    p50_ms: RoundSpread | None
    p95_ms: RoundSpread | None
    p99_ms: RoundSpread | None
    texts_per_s: RoundSpread
    vs_baseline: RoundSpread
    vs_reference: RoundSpread


def rows_of(results: SpeedResults) -> list[SpeedRow]:
    """Return every system on every workload, in the order of the results."""
    return [
        _row(results, workload, system)
        for workload in results.workloads
        for system in results.systems
    ]


def full_table(results: SpeedResults) -> str:
    """Return all that was measured, one row per workload and system."""
    head = [
        "workload",
        "system",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "speedup vs merged",
        "speedup vs published",
        "texts/s",
        *_SYSTEM_HEAD,
    ]
    body = [
        [
            row.workload.title,
            row.system.title,
            _range(row.p50_ms),
            _range(row.p95_ms),
            _range(row.p99_ms),
            _times(row.vs_baseline),
            _times(row.vs_reference),
            f"{row.texts_per_s.median:.0f}",
            *_system_cells(row.system),
        ]
        for row in rows_of(results)
    ]
    return f"{conditions(results)}\n\n{table(head, body)}\n\n{CAVEAT}"


def speed_summary(results: SpeedResults) -> str:
    """Return the README's tables: real texts with all of a system, then token counts."""
    rows = {(row.workload.name, row.system.name): row for row in rows_of(results)}
    real = [
        [
            system.title,
            _range(rows[TEXT, system.name].p50_ms),
            _range(rows[TEXT, system.name].p95_ms),
            _range(rows[TEXT, system.name].p99_ms),
            _times(rows[TEXT, system.name].vs_baseline),
            _times(rows[TEXT, system.name].vs_reference),
            f"{rows[BULK, system.name].texts_per_s.median:.0f}",
            *_system_cells(system),
        ]
        for system in results.systems
    ]
    lengths = [workload for workload in results.workloads if workload.tokens is not None]
    by_length = [
        [
            system.title,
            *(
                f"{_median(row.p50_ms)} ({_times(row.vs_baseline)})"
                for row in (rows[workload.name, system.name] for workload in lengths)
            ),
        ]
        for system in results.systems
    ]
    return "\n\n".join(
        [
            conditions(results),
            table(
                [
                    "real texts, one by one",
                    "p50 ms",
                    "p95 ms",
                    "p99 ms",
                    "speedup vs merged",
                    "speedup vs published",
                    "in bulk, texts/s",
                    *_SYSTEM_HEAD,
                ],
                real,
            ),
            "Level 1 alone on given tokens, batch 1: p50 in ms, and times faster than PyTorch, "
            "merged.",
            table(["tokens", *(str(workload.tokens) for workload in lengths)], by_length),
            CAVEAT,
        ]
    )


def conditions(results: SpeedResults) -> str:
    """Return where and how the numbers were taken, the lines above a table."""
    machine = results.header.host
    n_rounds = 1 + max(figures.round for figures in results.rounds)
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    calls = max((w.n_texts for w in results.workloads if w.tokens is not None), default=0)
    return (
        f"`{results.header.name}` on {results.setting}; "
        f"{', '.join(machine.isa)}; {machine.os}; {versions}; {results.header.date}.\n"
        f"Median over {n_rounds} interleaved rounds [least–greatest round], each of {calls} calls "
        "of every token count and one of every corpus text; warm-up and load time apart; one "
        f"process a system.\nMade by `{results.header.command}`."
    )


def parity_summary(results: SpeedResults) -> str:
    """Return the exporter's parity table of the bundle that was measured."""
    return parity_table(results.parity)


def _row(results: SpeedResults, workload: WorkloadFigures, system: SpeedSystemFigures) -> SpeedRow:
    def rounds(name: str) -> list[RoundFigures]:
        found = [f for f in results.rounds if (f.workload, f.system) == (workload.name, name)]
        return sorted(found, key=lambda figures: figures.round)

    def costs(name: str) -> list[float]:
        return [f.latency.p50_ms if f.latency else f.total_s for f in rounds(name)]

    own = rounds(system.name)
    latencies = [figures.latency for figures in own if figures.latency is not None]
    return SpeedRow(
        workload=workload,
        system=system,
        p5_ms=_spread_of(latencies, lambda latency: latency.p5_ms),
        p50_ms=_spread_of(latencies, lambda latency: latency.p50_ms),
        p95_ms=_spread_of(latencies, lambda latency: latency.p95_ms),
        p99_ms=_spread_of(latencies, lambda latency: latency.p99_ms),
        texts_per_s=spread([workload.n_texts / figures.total_s for figures in own]),
        vs_baseline=speedup(costs(results.baseline), costs(system.name)),
        vs_reference=speedup(costs(results.reference), costs(system.name)),
    )


def _spread_of(
    latencies: Sequence[Percentiles], figure: Callable[[Percentiles], float]
) -> RoundSpread | None:
    return spread([figure(latency) for latency in latencies]) if latencies else None


_SYSTEM_HEAD = (
    "peak RSS MB",
    "weights MB",
    "load s",
    "max abs Δlogit",
    "decisions changed",
)


def _system_cells(system: SpeedSystemFigures) -> list[str]:
    return [
        f"{system.peak_rss_bytes / 1e6:.0f}",
        f"{system.size_bytes / 1e6:.0f}",
        f"{system.load_s:.1f}",
        *_quality_cells(system.quality),
    ]


def _quality_cells(quality: Quality | None) -> tuple[str, str]:
    if quality is None:
        return "reference", "reference"
    changed = f"{quality.decisions_changed} of {quality.n_texts}"
    return f"{quality.max_abs_logit_diff:.1e}", changed


def _range(value: RoundSpread | None) -> str:
    if value is None:
        return "–"
    return f"{_short(value.median)} [{_short(value.least)}–{_short(value.greatest)}]"


def _median(value: RoundSpread | None) -> str:
    return "–" if value is None else _short(value.median)


def _short(milliseconds: float) -> str:
    """Return three significant digits, never an exponent."""
    digits = sum(milliseconds < limit for limit in (1, 10, 100))
    return f"{milliseconds:.{digits}f}"


def _times(ratio: RoundSpread) -> str:
    return f"{ratio.median:.2f}×"


REGIONS: Regions = {
    "speed-mini": region("mini.json", SpeedResults, speed_summary),
    "parity-mini": region("mini.json", SpeedResults, parity_summary),
}
