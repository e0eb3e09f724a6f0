"""Latency over length, drawn from results and nothing else."""

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.harness.plots import length_axis, millisecond_axis, plain_style, save_figure
from benchmarks.speed.results import SpeedResults
from benchmarks.speed.tables import SpeedRow, rows_of
from hazgate_evaluation.plots import draw_grid

# Okabe and Ito's colours stay apart for every kind of colour vision; markers and dashes repeat
# the distinction in black and white.
_STYLES = (
    ("#D55E00", "o", "-"),
    ("#E69F00", "s", "--"),
    ("#0072B2", "^", "-"),
    ("#009E73", "D", "--"),
    ("#CC79A7", "v", "-."),
    ("#56B4E9", "P", ":"),
)


def draw_latency(results: SpeedResults, file: Path) -> None:
    """Write a PNG: one line per system, its median latency, and a band from p5 to p95.

    Each is the median over the rounds of that round's percentile; both axes are logarithmic.
    """
    rows = [row for row in rows_of(results) if row.workload.tokens is not None]
    with plain_style(font_size=10):
        figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
        axes = figure.subplots()
        for system, (color, marker, dashes) in zip(results.systems, _STYLES, strict=False):
            own = [row for row in rows if row.system == system]
            tokens = [row.workload.tokens or 0 for row in own]
            low, middle, high = _curves(own)
            axes.fill_between(tokens, low, high, color=color, alpha=0.18, linewidth=0)
            axes.plot(
                tokens, middle, color=color, marker=marker, linestyle=dashes, label=system.title
            )
        axes.set_xlabel("tokens of the text (batch 1, Level 1)")
        axes.set_ylabel("milliseconds a call")
        length_axis(axes, sorted({row.workload.tokens or 0 for row in rows}))
        millisecond_axis(axes)
        draw_grid(axes)
        figure.legend(frameon=False, loc="outside lower center", ncols=len(results.systems))
        axes.set_title(
            f"{results.header.name}: median latency, band p5 to p95\n"
            f"{results.setting}, {results.header.date}",
            loc="left",
            fontsize=10,
        )
        save_figure(figure, file)


def _curves(rows: list[SpeedRow]) -> tuple[list[float], list[float], list[float]]:
    low = [row.p5_ms.median for row in rows if row.p5_ms]
    middle = [row.p50_ms.median for row in rows if row.p50_ms]
    high = [row.p95_ms.median for row in rows if row.p95_ms]
    return low, middle, high
