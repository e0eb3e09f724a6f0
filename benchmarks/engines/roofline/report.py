"""Tables and plot of a run, made from its results and nothing else."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.engines.report import best_int8_peer, cells_of
from benchmarks.engines.results import EngineComparison
from benchmarks.engines.roofline.results import Roofline
from benchmarks.harness.markdown import table
from benchmarks.harness.plots import plain_style, save_figure
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import load

# A layer has four products and attention.
_NODES = 5
_OURS = "hazgate-int8-fused"
_COLOURS = {"linear": "#0072B2", "attention": "#D55E00"}
_MARKERS = {"qkv": "o", "out": "s", "gated": "^", "down": "D", "global": "P", "local": "v"}


def roofline_table(results: Roofline) -> str:
    """Return each operator's time, speedup over ONNX Runtime's, and share of the bound."""
    tokens = sorted({step.tokens for step in results.steps})
    by_name = {(step.name, step.tokens): step for step in results.steps}
    names = dict.fromkeys(step.name for step in results.steps)
    body = []
    for name in names:
        cells = []
        for n in tokens:
            step = by_name[name, n]
            cells.append(
                f"{step.ours_ms:.3g} ({step.onnxruntime_ms / step.ours_ms:.2f}×, "
                f"{results.bound_ms(step) / step.ours_ms:.0%})"
            )
        body.append((by_name[name, tokens[0]].title, *cells))
    peaks, run = results.peaks, results.header
    return (
        f"{results.instruction_set} on {run.host.summary}, {run.threads} threads; bare "
        f"loops reach int8 {peaks['int8'] / 1e9:.0f} G/s and float32 {peaks['fp32'] / 1e9:.0f} "
        f"G/s, memory gives {peaks['memory'] / 1e9:.0f} GB/s. {run.origin}\n\n"
        + table(
            (
                "ms (times faster than ONNX Runtime, share of the bound)",
                *(f"{n} tokens" for n in tokens),
            ),
            body,
        )
        + f"\n\nA node of a graph costs {results.node_us:.2g} µs besides its computation: five of "
        f"them, {_share_of_layer(results, tokens[0]):.1%} of a layer's time at {tokens[0]} tokens."
    )


def ceiling_table(results: Roofline, engines: EngineComparison) -> str:
    """Compare the bare loops' time with the best int8 peer's, one text at a time."""
    body = []
    for workload in engines.workloads:
        peer = best_int8_peer(engines, workload)
        if workload.kind != "grid" or workload.n_texts != 1 or peer is None:
            continue
        cells = {c.engine.name: c for c in cells_of(engines) if c.workload == workload}
        least_ms = _least_ms(results, engines, workload.tokens or 0)
        ours_ms, peer_ms = cells[_OURS].latency.p50_ms, cells[peer].latency.p50_ms
        body.append(
            (
                str(workload.tokens),
                f"{least_ms:.3g}",
                f"{ours_ms:.3g}",
                f"{least_ms / ours_ms:.0%}",
                f"{cells[peer].engine.title}, {peer_ms:.3g}",
                f"{peer_ms / least_ms:.2f}×",
                f"{peer_ms / ours_ms:.2f}×",
            )
        )
    head = (
        "tokens",
        "bare loops, ms",
        "int8-fused, ms",
        "share",
        "best int8 peer, ms",
        "faster than it at most",
        "reached",
    )
    return table(head, body)


def _least_ms(results: Roofline, engines: EngineComparison, tokens: int) -> float:
    """Return the time of products or weights at their peak, and of float32 attention."""
    peaks, shape = results.peaks, engines.shape
    products = 2.0 * tokens * shape.macs_per_token / peaks["int8"]
    # A weight is a byte.
    weights = shape.macs_per_token / peaks["memory"]
    return 1e3 * (max(products, weights) + shape.attention_operations(tokens) / peaks["fp32"])


def _share_of_layer(results: Roofline, tokens: int) -> float:
    """Return the share of a layer's time that one operator instead of five could save."""
    return _NODES * results.node_us / (1e3 * results.layer_ms(tokens))


def draw_roofline(results: Roofline, file: Path) -> None:
    """Write a PNG: operations per second over operations per byte, and the limits."""
    intensity = np.logspace(0, 4, 200)
    memory = results.peaks["memory"]
    with plain_style(font_size=10):
        figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
        axes = figure.subplots()
        for kind, peak in (("linear", "int8"), ("attention", "fp32")):
            limit = np.minimum(results.peaks[peak], intensity * memory) / 1e9
            axes.plot(intensity, limit, color=_COLOURS[kind], linewidth=1)
            axes.annotate(
                f"{peak}, bare loop",
                (intensity[-1], limit[-1]),
                ha="right",
                va="bottom",
                color=_COLOURS[kind],
            )
        for name, marker in _MARKERS.items():
            own = [step for step in results.steps if step.name == name]
            colour = _COLOURS[own[0].kind]
            x = [step.operations / step.moved_bytes for step in own]
            y = [step.operations / step.ours_ms / 1e6 for step in own]
            theirs = [step.operations / step.onnxruntime_ms / 1e6 for step in own]
            axes.scatter(x, theirs, marker=marker, edgecolors=colour, facecolors="none", zorder=3)
            axes.scatter(x, y, marker=marker, color=colour, label=own[0].title, zorder=4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("operations a byte")
        axes.set_ylabel("G operations a second")
        axes.set_title(
            "One layer's operators: filled hazgate-kernels, hollow ONNX Runtime", fontsize=10
        )
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        save_figure(figure, file)


REGIONS: Regions = {
    "roofline": region("roofline.json", Roofline, roofline_table),
    "ceiling-full": lambda folder: ceiling_table(
        load(Roofline, folder / "roofline.json"),
        load(EngineComparison, folder / "engines-full.json"),
    ),
}
