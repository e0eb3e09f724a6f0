"""Latency over length, drawn from results and nothing else. The only file that knows matplotlib."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.harness.store import Comparison
from benchmarks.speed.tables import Row, rows_of

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
_TICKS_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def draw_latency(results: Comparison, file: Path) -> None:
    """Writes a PNG: one line a system, its median latency, and a band from p5 to p95.

    Each is the median over the rounds of that round's percentile; both axes are logarithmic.
    """
    rows = [row for row in rows_of(results) if row.workload.tokens is not None]
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
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
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("tokens of the text (batch 1, gate level)")
        axes.set_ylabel("milliseconds a call")
        lengths = sorted({row.workload.tokens or 0 for row in rows})
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.xaxis.set_minor_locator(NullLocator())
        lowest, highest = axes.get_ylim()
        axes.set_yticks([tick for tick in _TICKS_MS if lowest <= tick <= highest])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        figure.legend(frameon=False, loc="outside lower center", ncols=len(results.systems))
        axes.set_title(
            f"{results.name}: median latency, band p5 to p95\n{results.setting}, {results.date}",
            loc="left",
            fontsize=10,
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        # Without a date or version in it, the same results give the same bytes.
        figure.savefig(file, metadata={"Software": None})


def _curves(rows: list[Row]) -> tuple[list[float], list[float], list[float]]:
    low = [row.p5_ms.median for row in rows if row.p5_ms]
    middle = [row.p50_ms.median for row in rows if row.p50_ms]
    high = [row.p95_ms.median for row in rows if row.p95_ms]
    return low, middle, high
