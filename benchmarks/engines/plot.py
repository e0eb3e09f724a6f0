"""Latency over length, throughput over batch and share of peak, drawn from results alone."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.engines.report import OURS, Cell, cells_of
from benchmarks.engines.results import EngineComparison, EngineFigures

# Okabe and Ito's colours; ours are drawn thick, the peers thin.
_COLORS = ("#999999", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#F0E442", "#D55E00")
_OUR_COLORS = ("#0072B2", "#009E73", "#882255")
_MARKERS = "osDv^Px*hp<>"
_TICKS_MS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def draw_engines(results: EngineComparison, file: Path) -> None:
    """Writes a PNG of three panels."""
    cells = [cell for cell in cells_of(results) if cell.workload.kind == "grid"]
    drawn = [engine for engine in results.engines if any(c.engine == engine for c in cells)]
    styles = _styles(drawn)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(13, 4.8), dpi=130, layout="constrained")
        latency, share, batch = figure.subplots(1, 3)
        for engine in drawn:
            own = [c for c in cells if c.engine == engine]
            single = [c for c in own if c.workload.n_texts == 1]
            lengths = [c.workload.tokens or 0 for c in single]
            style = styles[engine.name]
            latency.plot(lengths, [c.latency.p50_ms for c in single], label=engine.title, **style)
            share.plot(lengths, [100 * (c.share_of_peak or 0) for c in single], **style)
            _draw_batches(batch, own, style)
        _log_axes(latency, sorted({c.workload.tokens or 0 for c in cells if c.workload.tokens}))
        _log_axes(share, sorted({c.workload.tokens or 0 for c in cells if c.workload.tokens}))
        latency.set_yscale("log")
        low, high = latency.get_ylim()
        latency.set_yticks([t for t in _TICKS_MS if low <= t <= high])
        latency.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        latency.yaxis.set_minor_locator(NullLocator())
        latency.set_xlabel("tokens of the text, batch 1")
        latency.set_ylabel("median milliseconds")
        share.set_xlabel("tokens of the text, batch 1")
        share.set_ylabel("% of the peak of the engine's precision")
        batch.set_xlabel("texts of 128 tokens in a batch")
        batch.set_ylabel("texts a second")
        for axes in (latency, share, batch):
            axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        figure.legend(frameon=False, loc="outside lower center", ncols=5)
        figure.suptitle(
            f"{results.name}, {results.level}: {results.machine.summary}, "
            f"{results.threads} threads, {results.date}",
            x=0.01,
            ha="left",
            fontsize=10,
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Software": None})


def _styles(engines: Sequence[EngineFigures]) -> dict[str, dict[str, object]]:
    ours, others = iter(_OUR_COLORS), iter(_COLORS)

    def style(engine: EngineFigures, marker: str) -> dict[str, object]:
        is_ours = engine.name.startswith(OURS)
        return {
            "color": next(ours) if is_ours else next(others),
            "linewidth": 2.6 if is_ours else 1.1,
            "linestyle": "-" if engine.is_int8 else "--",
            "marker": marker,
            "markersize": 4,
            "zorder": 3 if is_ours else 2,
        }

    return {
        engine.name: style(engine, marker)
        for engine, marker in zip(engines, _MARKERS, strict=False)
    }


def _draw_batches(axes: Axes, cells: list[Cell], style: dict[str, object]) -> None:
    own = sorted((c for c in cells if c.workload.tokens == 128), key=lambda c: c.workload.n_texts)
    rows = [c.workload.n_texts for c in own]
    axes.plot(rows, [c.texts_per_s for c in own], **style)  # type: ignore[arg-type]
    axes.set_xticks(rows or [1], [str(n) for n in rows] or ["1"])


def _log_axes(axes: Axes, ticks: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
