"""Latency over length, throughput over batch and share of peak, drawn from results alone."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.engines.report import OURS, EngineCell, cells_of
from benchmarks.engines.results import EngineComparison, EngineFigures
from benchmarks.harness.plots import length_axis, millisecond_axis, plain_style, save_figure
from hazgate_evaluation.plots import draw_grid

# Okabe and Ito's colours; ours are drawn thick, the peers thin.
_COLORS = ("#999999", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#F0E442", "#D55E00")
_OUR_COLORS = ("#0072B2", "#009E73", "#882255")
_MARKERS = "osDv^Px*hp<>"


def draw_engines(results: EngineComparison, file: Path) -> None:
    """Write a PNG of three panels."""
    cells = [cell for cell in cells_of(results) if cell.workload.kind == "grid"]
    drawn = [engine for engine in results.engines if any(c.engine == engine for c in cells)]
    styles = _styles(drawn)
    with plain_style(font_size=9):
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
        for axes in (latency, share):
            length_axis(axes, sorted({c.workload.tokens for c in cells if c.workload.tokens}))
        millisecond_axis(latency)
        latency.set_xlabel("tokens of the text, batch 1")
        latency.set_ylabel("median milliseconds")
        share.set_xlabel("tokens of the text, batch 1")
        share.set_ylabel("% of the peak of the engine's precision")
        batch.set_xlabel("texts of 128 tokens in a batch")
        batch.set_ylabel("texts a second")
        for axes in (latency, share, batch):
            draw_grid(axes)
        figure.legend(frameon=False, loc="outside lower center", ncols=5)
        figure.suptitle(
            f"{results.header.name}, {results.level}: {results.header.host.summary}, "
            f"{results.header.threads} threads, {results.header.date}",
            x=0.01,
            ha="left",
            fontsize=10,
        )
        save_figure(figure, file)


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


def _draw_batches(axes: Axes, cells: list[EngineCell], style: dict[str, object]) -> None:
    own = sorted((c for c in cells if c.workload.tokens == 128), key=lambda c: c.workload.n_texts)
    rows = [c.workload.n_texts for c in own]
    axes.plot(rows, [c.texts_per_s for c in own], **style)  # type: ignore[arg-type]
    axes.set_xticks(rows or [1], [str(n) for n in rows] or ["1"])
