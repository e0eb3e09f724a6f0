"""Tables and figure of the load benchmark, made from results and nothing else."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.harness.markdown import table
from benchmarks.harness.plots import save_figure
from benchmarks.harness.regions import Regions, region
from benchmarks.load.results import (
    LOADS,
    OVERLOAD,
    LoadedSystem,
    LoadFigures,
    LoadResults,
    Overhead,
    peak_goodput,
)
from hazgate_evaluation.plots import STYLES, draw_grid, style

_LIGHT, _MIDDLE, _BUSY = LOADS[:3]
_WAYS = {"embedded": "AsyncGate, embedded", "http": "hazgate serve, over HTTP"}


def load_table(results: LoadResults) -> str:
    """Return each system at its own saturation and past it, then the cost of each way to ask."""
    head = (
        "reads",
        "",
        "peak texts/s",
        f"p50 ms at {_LIGHT:g} of it",
        f"p99 ms at {_LIGHT:g}",
        f"p50 ms at {_MIDDLE:g}",
        f"p99 ms at {_MIDDLE:g}, texts of one window",
        f"p99 ms at {_BUSY:g}",
        f"goodput at {OVERLOAD:g} ×, of peak",
        f"in time at {OVERLOAD:g} ×",
        "shed",
        "late",
        f"p99 ms at {OVERLOAD:g} ×",
        "asker, processor s a second",
    )
    body = [_row(system, results.figures) for system in results.systems]
    absent = "".join(f"\n\nNot measured: {name}, {why}." for name, why in results.absent.items())
    run = results.header
    return (
        f"`{run.name}` on {run.host.summary}, {run.threads} threads. Poisson "
        f"arrivals of corpus texts (median {results.median_tokens} tokens, longest "
        f"{results.longest_tokens}); deadline "
        f"{1e3 * results.deadline_s:.0f} ms; loads are multiples of each system's own saturation; "
        f"the asker is a process on the same processors. {run.origin}\n\n"
        f"{table(head, body)}{absent}\n\n{_overhead_text(results)}"
    )


def _row(system: LoadedSystem, figures: Sequence[LoadFigures]) -> tuple[str, ...]:
    at = {f.load: f for f in figures if f.system == system.name}
    peak = peak_goodput(system, figures)
    over = at[OVERLOAD]
    return (
        system.reads,
        system.title,
        f"{peak:.0f}",
        _ms(at[_LIGHT].p50_ms),
        _ms(at[_LIGHT].p99_ms),
        _ms(at[_MIDDLE].p50_ms),
        _ms(at[_MIDDLE].short_p99_ms),
        _ms(at[_BUSY].p99_ms),
        _share(over.goodput, peak),
        _share(over.answered, over.offered),
        _share(over.shed, over.offered),
        _share(over.late, over.offered),
        _ms(over.p99_ms),
        # An asker in the engine's process has no processor time of its own.
        "–" if over.server_cpu_s is None else f"{over.asker_cpu_s / over.seconds:.2f}",
    )


def _overhead_text(results: LoadResults) -> str:
    if not results.overhead:
        return "What asyncio and HTTP add to a call was not measured."
    head = (
        f"{results.variant}, at {results.overhead_rate:.0f} texts a second",
        "p50 ms",
        "p50 ms of a direct call",
        "added, ms: median of pairs",
        "quartiles",
        "pairs",
    )
    return table(head, [_overhead_row(one) for one in results.overhead])


def _overhead_row(one: Overhead) -> tuple[str, ...]:
    return (
        _WAYS[one.way],
        f"{one.p50_ms:.1f}",
        f"{one.direct_p50_ms:.1f}",
        f"{one.added_ms:.2f}",
        f"{one.added_p25_ms:.2f}–{one.added_p75_ms:.2f}",
        str(one.n_pairs),
    )


def load_figure(results: LoadResults) -> Figure:
    """Draw goodput and latency over the offered load; a column per amount of work per text."""
    kinds = list(dict.fromkeys(system.reads for system in results.systems))
    with style():
        figure = Figure(figsize=(5.2 * len(kinds), 7.2), dpi=150, layout="constrained")
        grid = figure.subplots(2, len(kinds), squeeze=False, sharex=True, sharey="row")
        for column, reads in enumerate(kinds):
            goodput, latency = grid[0][column], grid[1][column]
            own = [system for system in results.systems if system.reads == reads]
            for system, (colour, marker) in zip(own, STYLES, strict=False):
                figures = [f for f in results.figures if f.system == system.name]
                _draw(goodput, latency, system, figures, colour, marker)
            goodput.axhline(1, color="#888888", linewidth=0.8, linestyle="--")
            goodput.set(ylim=(0, 1.25))
            goodput.legend(
                title=reads,
                alignment="left",
                frameon=False,
                fontsize=8,
                loc="lower left",
                bbox_to_anchor=(0, 1),
            )
            latency.set(xlabel="offered, × own saturation", yscale="log")
            for set_formatter in (
                latency.yaxis.set_major_formatter,
                latency.yaxis.set_minor_formatter,
            ):
                set_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            for axes in (goodput, latency):
                draw_grid(axes)
        grid[0][0].set_ylabel("answered in time, × own saturation")
        grid[1][0].set_ylabel("ms of what was in time: p99, dotted p50")
        return figure


def draw_load(results: LoadResults, file: Path) -> None:
    """Write the figure as a PNG."""
    save_figure(load_figure(results), file)


def _draw(
    goodput: Axes,
    latency: Axes,
    system: LoadedSystem,
    figures: Sequence[LoadFigures],
    colour: str,
    marker: str,
) -> None:
    loads = [f.load for f in figures]
    shares = [f.goodput / system.saturation_rate for f in figures]
    label = f"{system.title} ({system.saturation_rate:.0f}/s)"
    goodput.plot(loads, shares, color=colour, marker=marker, label=label)
    # A load at which nothing was in time has no latency.
    nan = float("nan")
    p99 = [nan if f.p99_ms is None else f.p99_ms for f in figures]
    p50 = [nan if f.p50_ms is None else f.p50_ms for f in figures]
    latency.plot(loads, p99, color=colour, marker=marker)
    latency.plot(loads, p50, color=colour, marker=marker, linestyle=":")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "–"


REGIONS: Regions = {"load-mini": region("load-mini.json", LoadResults, load_table)}
