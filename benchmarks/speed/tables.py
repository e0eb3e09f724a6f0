"""Markdown tables, made from results files and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.harness.markdown import table
from benchmarks.harness.statistics import Percentiles, Spread, speedup, spread
from benchmarks.harness.store import (
    Comparison,
    Quality,
    RoundFigures,
    SystemFigures,
    WorkloadFigures,
)
from benchmarks.speed.workloads import BULK, TEXT
from hazgate_export.bundle.report import parity_table

CAVEAT = (
    "**These numbers hold for this machine, this model, these versions and this number of "
    "threads only;** measure on your own with the command above."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One system on one workload, over all rounds.

    The latencies are None where all texts are one call. `vs_baseline` and `vs_reference` say how
    many times faster the system is than the merged and the adapter-applied PyTorch model: the
    median of the ratios within each round, of median latencies or, where there are none, of
    times a text.
    """

    workload: WorkloadFigures
    system: SystemFigures
    p5_ms: Spread | None
    p50_ms: Spread | None
    p95_ms: Spread | None
    p99_ms: Spread | None
    texts_per_s: Spread
    vs_baseline: Spread
    vs_reference: Spread


def rows_of(results: Comparison) -> list[Row]:
    """Every system on every workload, in the order of the results."""
    return [
        _row(results, workload, system)
        for workload in results.workloads
        for system in results.systems
    ]


def full_table(results: Comparison) -> str:
    """Everything that was measured, one row for each workload and system."""
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


def speed_summary(results: Comparison) -> str:
    """The tables of the README: real texts with everything of a system, then token counts."""
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
            "Gate level alone on given tokens, batch 1: p50 in ms, and times faster than PyTorch, "
            "merged.",
            table(["tokens", *(str(workload.tokens) for workload in lengths)], by_length),
            CAVEAT,
        ]
    )


def conditions(results: Comparison) -> str:
    """Where and how the numbers were taken, in the lines above a table."""
    machine = results.machine
    n_rounds = 1 + max(figures.round for figures in results.rounds)
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    calls = max((w.n_texts for w in results.workloads if w.tokens is not None), default=0)
    return (
        f"`{results.name}` on {results.setting}; "
        f"{', '.join(machine.isa)}; {machine.os}; {versions}; {results.date}.\n"
        f"Median over {n_rounds} interleaved rounds [least–greatest round], each of {calls} calls "
        "of every token count and one of every corpus text; warm-up and load time apart; one "
        f"process a system.\nMade by `{results.command}`."
    )


def parity_summary(results: Comparison) -> str:
    """The exporter's parity table of the bundle that was measured."""
    return parity_table(results.parity)


def _row(results: Comparison, workload: WorkloadFigures, system: SystemFigures) -> Row:
    def rounds(name: str) -> list[RoundFigures]:
        found = [f for f in results.rounds if (f.workload, f.system) == (workload.name, name)]
        return sorted(found, key=lambda figures: figures.round)

    def costs(name: str) -> list[float]:
        return [f.latency.p50_ms if f.latency else f.total_s for f in rounds(name)]

    own = rounds(system.name)
    latencies = [figures.latency for figures in own if figures.latency is not None]
    return Row(
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
) -> Spread | None:
    return spread([figure(latency) for latency in latencies]) if latencies else None


_SYSTEM_HEAD = (
    "peak RSS MB",
    "weights MB",
    "load s",
    "max abs Δlogit",
    "decisions changed",
)


def _system_cells(system: SystemFigures) -> list[str]:
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


def _range(value: Spread | None) -> str:
    if value is None:
        return "–"
    return f"{_short(value.median)} [{_short(value.least)}–{_short(value.greatest)}]"


def _median(value: Spread | None) -> str:
    return "–" if value is None else _short(value.median)


def _short(milliseconds: float) -> str:
    """Three significant digits, never an exponent."""
    digits = sum(milliseconds < limit for limit in (1, 10, 100))
    return f"{milliseconds:.{digits}f}"


def _times(ratio: Spread) -> str:
    return f"{ratio.median:.2f}×"
