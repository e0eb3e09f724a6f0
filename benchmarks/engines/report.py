"""Tables of the engines, made from results files and nothing else."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.engines.results import EngineComparison, EngineFigures, WorkloadOfEngines
from benchmarks.engines.systems import REFERENCE
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.statistics import Percentiles, RoundSpread, percentiles, speedup

OURS = "hazgate-"
_STREAMS = {
    "padded": "32 as they come, padded to the longest",
    "planned": "equal lengths only, as the runtime plans",
    "packed": "any lengths without padding, as the runtime plans",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineCell:
    """One engine on one workload.

    `latency` has medians over the rounds of each round's percentiles.
    `vs_pytorch` and the others say how many times faster it is, as the median of the ratios
    within each round. The best peer is the int8 one with the least median latency here; the best
    equal peer is the best of those that change no more labels than this engine.
    `share_of_peak` is the operations that the texts need, without padding, over those that the
    machine's kernels do in that time at the engine's own precision.
    """

    engine: EngineFigures
    workload: WorkloadOfEngines
    latency: Percentiles
    texts_per_s: float
    vs_pytorch: RoundSpread | None
    vs_best_int8_peer: RoundSpread | None
    vs_best_equal_int8_peer: RoundSpread | None
    share_of_peak: float | None


def summary(results: EngineComparison) -> str:
    """Return every table of a results file, in the order in which people ask."""
    parts = (setting, latency_table, ratio_table, batch_table, stream_table, failures)
    return "\n\n".join(text for part in parts if (text := part(results)))


def headline(results: EngineComparison) -> str:
    """Return a first reader's table: where it was measured, and one text at a time."""
    workloads = [w for w in results.workloads if w.kind == "grid" and w.n_texts == 1]
    cells = {(c.engine.name, c.workload.name): c for c in cells_of(results)}
    body = []
    for engine in results.engines:
        found = [cells.get((engine.name, w.name)) for w in workloads]
        if not any(found):
            continue
        times = [_time_and_speedup(cell) if cell else "–" for cell in found]
        disk, memory, _, _, _, changed = _once(engine)
        body.append([engine.title, *times, disk, memory, changed])
    head = [
        "p50 ms of one text of … tokens (times faster than PyTorch)",
        *(str(w.tokens) for w in workloads),
        "disk MB",
        "RSS MB",
        "labels changed",
    ]
    return f"{setting(results)}\n\n{table(head, body)}"


def cells_of(results: EngineComparison) -> list[EngineCell]:
    """Return every engine on each of its workloads, in the order of the results."""
    return [
        cell
        for workload in results.workloads
        for engine in results.engines
        if (cell := _cell(results, engine, workload)) is not None
    ]


def best_int8_peer(
    results: EngineComparison,
    workload: WorkloadOfEngines,
    *,
    as_exact_as: EngineFigures | None = None,
) -> str | None:
    """Return the int8 engine with the least median latency that is not ours.

    With `as_exact_as`, only engines that change no more labels than that one count.
    """
    medians = {
        engine.name: statistics.median(_medians(results, engine.name, workload.name))
        for engine in results.engines
        if engine.is_int8
        and not engine.name.startswith(OURS)
        and (as_exact_as is None or _no_less_exact(engine, as_exact_as))
        and _medians(results, engine.name, workload.name)
    }
    return min(medians, key=medians.__getitem__) if medians else None


def _no_less_exact(engine: EngineFigures, than: EngineFigures) -> bool:
    if engine.quality is None or than.quality is None:
        return False
    return engine.quality.decisions_changed <= than.quality.decisions_changed


def latency_table(results: EngineComparison) -> str:
    """Return median milliseconds of one text, with size, memory, load time and distance."""
    workloads = [w for w in results.workloads if w.kind == "grid" and w.n_texts == 1]
    cells = {(c.engine.name, c.workload.name): c for c in cells_of(results)}
    head = [
        "p50 ms of one text of … tokens",
        *(str(w.tokens) for w in workloads),
        "disk MB",
        "RSS MB",
        "load s",
        "max abs Δlogit",
        "p99",
        "labels changed",
    ]
    body = []
    for engine in results.engines:
        found = [cells.get((engine.name, w.name)) for w in workloads]
        times = [_time(cell.latency.p50_ms) if cell else "–" for cell in found]
        body.append([engine.title, *times, *_once(engine)])
    return table(head, body)


def ratio_table(results: EngineComparison) -> str:
    """Return how many times faster ours is, per workload, with the rounds' range."""
    body = []
    for cell in cells_of(results):
        if cell.workload.kind != "grid" or not cell.engine.name.startswith(OURS):
            continue
        titles = {engine.name: engine.title for engine in results.engines}
        peer = best_int8_peer(results, cell.workload)
        equal = best_int8_peer(results, cell.workload, as_exact_as=cell.engine)
        body.append(
            [
                cell.engine.title,
                _workload_title(cell.workload),
                _ratio(cell.vs_pytorch),
                _ratio(cell.vs_best_int8_peer) if cell.engine.is_int8 else "–",
                titles.get(peer or "", "–") if cell.engine.is_int8 else "–",
                _ratio(cell.vs_best_equal_int8_peer) if cell.engine.is_int8 else "–",
                titles.get(equal or "", "–") if cell.engine.is_int8 else "–",
                f"{cell.share_of_peak:.0%}" if cell.share_of_peak is not None else "–",
            ]
        )
    head = [
        "",
        "texts × tokens",
        "vs PyTorch",
        "vs best int8 peer",
        "which is",
        "vs best int8 peer that changes no more labels",
        "which is",
        "of peak",
    ]
    return table(head, body)


def batch_table(results: EngineComparison) -> str:
    """Return texts per second in batches of equal lengths."""
    workloads = [w for w in results.workloads if w.kind == "grid" and w.n_texts > 1]
    cells = {(c.engine.name, c.workload.name): c for c in cells_of(results)}
    body = []
    for engine in results.engines:
        found = [cells.get((engine.name, w.name)) for w in workloads]
        if any(found):
            body.append([engine.title, *(f"{c.texts_per_s:.1f}" if c else "–" for c in found)])
    return table(["texts a second", *map(_workload_title, workloads)], body)


def stream_table(results: EngineComparison) -> str:
    """Return the stream of mixed lengths: effects of batching and workers on one graph."""
    padded = {
        c.engine.title: c.latency.p50_ms for c in cells_of(results) if c.workload.kind == "padded"
    }
    body = []
    for cell in cells_of(results):
        if cell.workload.kind == "grid":
            continue
        # An engine with workers is the same graph as the one without.
        itself = padded.get(cell.engine.title.split(",")[0])
        body.append(
            [
                cell.engine.title,
                _STREAMS[cell.workload.kind],
                f"{cell.workload.padded_share:.0%}",
                f"{cell.texts_per_s:.1f}",
                f"{itself / cell.latency.p50_ms:.2f}" if itself else "–",
            ]
        )
    head = ["", "batches", "padding", "texts a second", "vs the same graph, padded"]
    return table(head, body)


def failures(results: EngineComparison) -> str:
    """Return the engines that could not be measured, and why."""
    return "\n".join(
        f"- {engine.title}: {engine.failure.splitlines()[0]}"
        for engine in results.engines
        if engine.failure
    )


def setting(results: EngineComparison) -> str:
    """Return where the numbers come from, in a sentence."""
    run = results.header
    isa = ", ".join(run.host.isa)
    peak = ", ".join(f"{kind} {value / 1e9:.0f} G/s" for kind, value in results.peak.items())
    return (
        f"`{run.name}`, {results.level}, {run.threads} threads on "
        f"{run.host.summary} ({isa}); ONNX Runtime's own matrix kernels reach {peak} there. "
        f"{run.origin}"
    )


def _cell(
    results: EngineComparison, engine: EngineFigures, workload: WorkloadOfEngines
) -> EngineCell | None:
    rounds = _rounds(results, engine.name, workload.name)
    if not rounds:
        return None
    by_round = [percentiles(seconds) for seconds in rounds]
    latency = Percentiles(
        p5_ms=statistics.median(p.p5_ms for p in by_round),
        p50_ms=statistics.median(p.p50_ms for p in by_round),
        p95_ms=statistics.median(p.p95_ms for p in by_round),
        p99_ms=statistics.median(p.p99_ms for p in by_round),
    )
    own = [p.p50_ms for p in by_round]
    peer = best_int8_peer(results, workload)
    equal = best_int8_peer(results, workload, as_exact_as=engine)
    operations = None
    if workload.tokens is not None:
        operations = workload.n_texts * results.shape.operations(workload.tokens)
    peak = results.peak["int8" if engine.is_int8 else "fp32"]
    return EngineCell(
        engine=engine,
        workload=workload,
        latency=latency,
        texts_per_s=1e3 * workload.n_texts / latency.p50_ms,
        vs_pytorch=_speedup(_medians(results, REFERENCE, workload.name), own),
        vs_best_int8_peer=_speedup(_medians(results, peer, workload.name), own) if peer else None,
        vs_best_equal_int8_peer=_speedup(_medians(results, equal, workload.name), own)
        if equal
        else None,
        share_of_peak=None if operations is None else operations / (latency.p50_ms / 1e3) / peak,
    )


def _rounds(results: EngineComparison, engine: str, workload: str) -> list[tuple[float, ...]]:
    return [r.seconds for r in results.rounds if r.engine == engine and r.workload == workload]


def _medians(results: EngineComparison, engine: str, workload: str) -> list[float]:
    rounds = _rounds(results, engine, workload)
    return [percentiles(seconds).p50_ms for seconds in rounds]


def _speedup(baseline: Sequence[float], own: Sequence[float]) -> RoundSpread | None:
    return speedup(baseline, own) if len(baseline) == len(own) and own else None


def _once(engine: EngineFigures) -> list[str]:
    quality = engine.quality

    def number(value: float | None, unit: float, digits: int = 0) -> str:
        return "–" if value is None else f"{value / unit:.{digits}f}"

    return [
        number(engine.size_bytes, 1e6),
        number(engine.peak_rss_bytes, 1e6),
        number(engine.load_s, 1, 1),
        f"{quality.max_abs_logit_diff:.1e}" if quality else "–",
        f"{quality.p99_abs_logit_diff:.1e}" if quality else "–",
        f"{quality.decisions_changed} of {quality.n_texts}" if quality else "–",
    ]


def _workload_title(workload: WorkloadOfEngines) -> str:
    return f"{workload.n_texts} × {workload.tokens}"


def _time(ms: float) -> str:
    return f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _time_and_speedup(cell: EngineCell) -> str:
    time = _time(cell.latency.p50_ms)
    return f"{time} ({cell.vs_pytorch.median:.2f}×)" if cell.vs_pytorch else time


def _ratio(value: RoundSpread | None) -> str:
    if value is None:
        return "–"
    return f"{value.median:.2f} ({value.least:.2f}–{value.greatest:.2f})"


REGIONS: Regions = {
    "engines-mini": region("engines-mini.json", EngineComparison, summary),
    "headline-full": region("engines-full.json", EngineComparison, headline),
    "engines-full": region("engines-full.json", EngineComparison, summary),
}
