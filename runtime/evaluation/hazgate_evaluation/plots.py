"""The report's figures as SVG, drawn with matplotlib."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hazgate_evaluation.dilution import DILUTION_TOKENS, PLACES, Dilution
from hazgate_evaluation.estimates import Estimate
from hazgate_evaluation.level2 import Level2Figures
from hazgate_evaluation.regret import RegretFigures
from hazgate_evaluation.reliability import ReliabilityBin
from hazgate_evaluation.report import EvaluatedSystem
from hazgate_evaluation.robustness import Robustness
from hazgate_evaluation.slices import Slice
from hazgate_evaluation.streams import Streams

# Okabe and Ito's colours are distinct for every kind of colour vision; markers repeat them.
STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
)
_GREY = "#888888"


def style(*, frame: bool = False) -> AbstractContextManager[None]:
    """Set the style of figures while they are drawn and saved; `frame` closes the axes."""
    return mpl.rc_context(
        {
            "font.size": 10,
            "axes.spines.top": frame,
            "axes.spines.right": frame,
            # Without a salt, ids are random and the same figure would not give the same bytes.
            "svg.hashsalt": "hazgate",
        }
    )


def draw_grid(axes: Axes) -> None:
    """Draw the pale lines that all figures have behind their curves."""
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)


def reliability_figure(systems: Sequence[EvaluatedSystem]) -> bytes:
    """Draw reliability diagrams of both levels side by side."""
    with style():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for system, (colour, marker) in zip(systems, STYLES, strict=False):
            _curve(left, system.level1.reliability, system.level1.ece, system.title, colour, marker)
            if system.level2:
                level2 = system.level2
                _curve(right, level2.reliability, level2.ece, system.title, colour, marker)
        finish_reliability(left, "Level 1: P(unsafe)", "share unsafe")
        finish_reliability(right, "Level 2: highest probability", "share right")
        return svg(figure)


def precision_recall_figure(systems: Sequence[EvaluatedSystem]) -> bytes:
    """Draw precision over recall of Level 1 and mark the threshold's point."""
    with style():
        figure = Figure(figsize=(5.6, 4.4), layout="constrained")
        axes = figure.subplots()
        for system, (colour, marker) in zip(systems, STYLES, strict=False):
            level1 = system.level1
            points = level1.precision_recall
            area = f", area {level1.auprc.value:.3f}" if level1.auprc else ""
            axes.plot(
                [point.recall for point in points],
                [point.precision for point in points],
                color=colour,
                label=f"{system.title}{area}",
            )
            if level1.flags.recall and level1.flags.precision:
                axes.plot(
                    level1.flags.recall.value,
                    level1.flags.precision.value,
                    color=colour,
                    marker=marker,
                    markersize=8,
                    linestyle="none",
                    clip_on=False,
                    label=f"{system.title} at {system.threshold:g}",
                )
        prevalence = systems[0].level1.n_unsafe / systems[0].level1.n_rows
        axes.axhline(prevalence, color=_GREY, linestyle=":", linewidth=1, label="flagging all")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
        _grid(axes)
        _legend(axes)
        return svg(figure)


def confusion_figure(level2: Level2Figures) -> bytes:
    """Draw Level 2's confusion matrix: counts, shaded by their share of the row."""
    counts = np.array(level2.confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    with style(frame=True):
        size = 2.6 + 0.5 * len(level2.labels)
        figure = Figure(figsize=(size + 0.6, size), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, row in enumerate(counts.tolist()):
            for j, count in enumerate(row):
                colour = "white" if shares[i, j] > 0.5 else "#222222"
                if count:
                    axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
        ticks = range(len(level2.labels))
        axes.set_xticks(ticks, level2.labels, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, level2.labels)
        axes.set(xlabel="given by Level 2", ylabel="label")
        return svg(figure)


def robustness_figure(robustness: Robustness) -> bytes:
    """Draw bars per mutation: unsafe texts still flagged, safe texts newly flagged."""
    figures = robustness.mutations[::-1]
    names = [figure.mutation.replace("_", " ") for figure in figures]
    with style():
        figure = Figure(figsize=(9.6, 0.6 + 0.25 * len(names)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _bars(left, names, [figure.still_flagged for figure in figures], STYLES[0][0])
        _bars(right, names, [figure.newly_flagged for figure in figures], STYLES[1][0])
        left.set_title(f"unsafe, still flagged (of {robustness.n_unsafe})", loc="left", fontsize=10)
        right.set_title(f"safe, newly flagged (of {robustness.n_safe})", loc="left", fontsize=10)
        return svg(figure)


def slices_figure(slices: Sequence[Slice]) -> bytes:
    """Draw recall and false-positive rate of every slice, with intervals."""
    shown = [part for part in slices if part.recall or part.false_positive_rate][::-1]
    names = [f"{part.dimension}: {part.name}" for part in shown]
    with style():
        figure = Figure(figsize=(9.6, 0.9 + 0.22 * len(names)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _dots(left, names, [part.recall for part in shown], STYLES[0])
        _dots(right, names, [part.false_positive_rate for part in shown], STYLES[1])
        left.set_title("recall of unsafe texts", loc="left", fontsize=10)
        right.set_title("false-positive rate", loc="left", fontsize=10)
        return svg(figure)


def streams_figure(streams: Streams) -> bytes:
    """Draw the share of texts stopped over the share of the text received."""
    with style():
        figure = Figure(figsize=(5.6, 4.0), layout="constrained")
        axes = figure.subplots()
        for name, part, (colour, _) in (
            ("unsafe", streams.unsafe, STYLES[0]),
            ("safe", streams.safe, STYLES[1]),
        ):
            if not part.n_texts:
                continue
            n_stopped = len(part.read_when_stopped)
            read = [0.0, *part.read_when_stopped, 1.0]
            stopped = [*(i / part.n_texts for i in range(n_stopped + 1)), n_stopped / part.n_texts]
            axes.step(read, stopped, where="post", color=colour, label=f"{name}, stopped")
            if part.flagged_whole:
                axes.axhline(
                    part.flagged_whole.value,
                    color=colour,
                    linestyle=":",
                    linewidth=1,
                    label=f"{name}, flagged as a whole",
                )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of the text received")
        axes.set_ylabel("share of the texts")
        _grid(axes)
        _legend(axes)
        return svg(figure)


def dilution_figure(dilution: Dilution) -> bytes:
    """Draw the shares of texts that are flagged among harmless ones, by length and place."""
    with style():
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for place, (colour, _) in zip(PLACES, STYLES, strict=False):
            at_place = [each for each in dilution.figures if each.place == place]
            for figures, line, name in (
                ([(each.n_tokens, each.still_flagged) for each in at_place], "-", "unsafe"),
                ([(each.n_tokens, each.newly_flagged) for each in at_place], ":", "safe"),
            ):
                known = [(n_tokens, share.value) for n_tokens, share in figures if share]
                axes.plot(
                    [n_tokens for n_tokens, _ in known],
                    [value for _, value in known],
                    color=colour,
                    linestyle=line,
                    marker=".",
                    label=f"{name}, {place}",
                )
        axes.set_xscale("log")
        axes.set_xticks(DILUTION_TOKENS, labels=list(map(str, DILUTION_TOKENS)))
        axes.minorticks_off()
        axes.set(ylim=(0, 1), xlabel="tokens of harmless text around", ylabel="share flagged")
        _grid(axes)
        _legend(axes)
        return svg(figure)


def regret_figure(regret: RegretFigures, titles: Sequence[str]) -> bytes:
    """Draw the ensemble's regret against the best expert, and the experts' weights."""
    n_outcomes = [point.n_outcomes for point in regret.curve]
    with style():
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(n_outcomes, [p.regret for p in regret.curve], color="#222222", label="regret")
        left.axhline(regret.bound, color=_GREY, linestyle=":", linewidth=1, label="bound")
        left.set(xlabel="outcomes learnt", ylabel="total loss beyond the best expert's")
        for i, (title, (colour, _)) in enumerate(zip(titles, STYLES, strict=False)):
            weights = [point.weights[i] for point in regret.curve]
            right.plot(n_outcomes, weights, color=colour, label=title)
        right.set(ylim=(0, 1), xlabel="outcomes learnt", ylabel="weight")
        for axes in (left, right):
            axes.set_xlim(0, n_outcomes[-1])
            _grid(axes)
            _legend(axes)
        return svg(figure)


def svg(figure: Figure) -> bytes:
    """Write the figure as SVG without a date or a creator."""
    stream = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    return stream.getvalue()


def finish_reliability(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Add the diagonal, limits and labels of a reliability diagram."""
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=xlabel, ylabel=ylabel)
    _grid(axes)
    _legend(axes)


def reliability_line(
    axes: Axes, bins: Sequence[ReliabilityBin], label: str, colour: str, marker: str
) -> None:
    """Draw one system's points in a reliability diagram."""
    axes.plot(
        [b.mean_confidence for b in bins],
        [b.hit_share for b in bins],
        color=colour,
        marker=marker,
        markersize=4,
        label=label,
        clip_on=False,
    )


def _curve(
    axes: Axes,
    bins: Sequence[ReliabilityBin],
    ece: Estimate | None,
    title: str,
    colour: str,
    marker: str,
) -> None:
    error = f", ECE {ece.value:.3f}" if ece else ""
    reliability_line(axes, bins, f"{title}{error}", colour, marker)


def _bars(
    axes: Axes, names: Sequence[str], figures: Sequence[Estimate | None], colour: str
) -> None:
    for i, figure in enumerate(figures):
        if figure:
            axes.barh(i, figure.value, color=colour, height=0.7, alpha=0.75)
            axes.plot([figure.low, figure.high], [i, i], color="#222222", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4))
    _grid(axes)


def _dots(
    axes: Axes, names: Sequence[str], figures: Sequence[Estimate | None], style: tuple[str, str]
) -> None:
    colour, marker = style
    for i, figure in enumerate(figures):
        if figure:
            axes.plot([figure.low, figure.high], [i, i], color=colour, linewidth=1.2)
            axes.plot(figure.value, i, color=colour, marker=marker, markersize=4, clip_on=False)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4))
    _grid(axes)


def _legend(axes: Axes) -> None:
    """Put the legend above the axes, where no curve passes."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))


def _grid(axes: Axes) -> None:
    draw_grid(axes)
    axes.set_axisbelow(True)
