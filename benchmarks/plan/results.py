"""Results of the plan's check: predictions and measurements, their tables and figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness.markdown import table
from benchmarks.harness.plots import save_figure
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import ResultHeader
from hazgate_evaluation.plots import STYLES, draw_grid, style
from hazgate_scale.capacity.times import ServiceTimes

# The plan's promise for one machine.
LIMIT = 0.20


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A prediction and a measurement; None where fewer than the percentile were answered."""

    predicted: float | None
    measured: float | None

    @property
    def error(self) -> float | None:
        """Distance of the prediction from the measurement, as a share of the measurement."""
        if self.predicted is None or self.measured is None:
            return None
        return self.predicted / self.measured - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedFleet:
    """Workers under random arrivals; `load` is a share of the predicted saturation."""

    n_workers: int
    load: float
    rate: float
    p50_ms: Pair
    p99_ms: Pair
    answered_share: Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class SaturatedFleet:
    """Texts per second of workers that are always busy."""

    n_workers: int
    texts_per_s: Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchCheck:
    """A throughput of `make bench`, predicted from the service times in hazgate's wheel."""

    variant: str
    workload: str
    texts_per_s: Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetResults:
    """All that one run found.

    `drift` is the share by which the same texts took longer by the service times of the end than
    by those of the beginning, which the predictions use. `flagged_share` is of the texts that
    were asked about.
    """

    header: ResultHeader
    variant: str
    seconds: float
    deadline_s: float
    median_tokens: int
    longest_tokens: int
    flagged_share: float
    times: ServiceTimes
    drift: float
    saturated: tuple[SaturatedFleet, ...]
    loaded: tuple[LoadedFleet, ...]
    bench: tuple[BenchCheck, ...]

    @property
    def bench_error(self) -> float:
        """Greatest error of `make bench`'s figures of the variant."""
        return _greatest([one.texts_per_s for one in self.bench if one.variant == self.variant])

    @property
    def saturation_error(self) -> float:
        """Greatest error of workers that are always busy, each on a processor of its own."""
        n_processors = self.header.host.processors
        own = [one for one in self.saturated if one.n_workers <= n_processors]
        return _greatest([one.texts_per_s for one in own])


def _greatest(pairs: Sequence[Pair]) -> float:
    return max(abs(pair.error) for pair in pairs if pair.error is not None)


def fleet_table(results: FleetResults) -> str:
    """Return throughputs, then latencies, each predicted and measured."""
    throughput = [
        (f"{one.n_workers} workers, always busy", *_cells(one.texts_per_s, 0))
        for one in results.saturated
    ]
    throughput += [
        (f"`make bench`, {one.variant}: {one.workload}", *_cells(one.texts_per_s, 0))
        for one in results.bench
    ]
    latency = [
        (
            str(one.n_workers),
            f"{one.load:g}",
            f"{one.rate:.0f}",
            *_cells(one.p50_ms, 1),
            *_cells(one.p99_ms, 1),
            *(
                _share(value)
                for value in (one.answered_share.predicted, one.answered_share.measured)
            ),
        )
        for one in results.loaded
    ]
    latency_head = (
        "workers",
        "load",
        "texts/s",
        "p50 ms, predicted",
        "measured",
        "error",
        "p99 ms, predicted",
        "measured",
        "error",
        "in time, predicted",
        "measured",
    )
    run = results.header
    return (
        f"`{run.name}` {results.variant} on {run.host.summary}: engines of one thread, "
        "each pinned to a processor; those beyond the number of processors share them, and are "
        "predicted to add nothing. Corpus texts but the longest "
        f"(median {results.median_tokens} tokens, longest of these {results.longest_tokens}, "
        f"{results.flagged_share:.0%} flagged) at random times for {results.seconds:g} s a row, "
        f"within {1e3 * results.deadline_s:.0f} ms; percentiles are of all that was asked. Service "
        f"times drifted by {results.drift:+.0%} from the beginning to the end. "
        f"{run.origin}\n\n"
        + table(("", "texts/s, predicted", "measured", "error"), throughput)
        + f"\n\nGreatest error of this one machine's throughput, {results.variant}: "
        + f"{results.bench_error:.0%} of what `make bench` measured, "
        + f"{results.saturation_error:.0%} of workers with a processor each.\n\n"
        + table(latency_head, latency)
    )


def _cells(pair: Pair, digits: int) -> tuple[str, str, str]:
    error = pair.error
    return (
        _number(pair.predicted, digits),
        _number(pair.measured, digits),
        "–" if error is None else f"{error:+.0%}",
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def fleet_figure(results: FleetResults) -> Figure:
    """Draw latency over the load, predicted as lines and measured as points."""
    counts = sorted({one.n_workers for one in results.loaded})
    with style():
        figure = Figure(figsize=(4.6 * len(counts), 3.6), dpi=150, layout="constrained")
        row = figure.subplots(1, len(counts), squeeze=False, sharey=True)[0]
        for axes, n_workers in zip(row, counts, strict=True):
            own = [one for one in results.loaded if one.n_workers == n_workers]
            _draw(axes, own)
            axes.set_title(f"{n_workers} worker{'s' * (n_workers > 1)}", fontsize=10)
        row[0].set_ylabel("ms")
        row[0].legend(frameon=False, fontsize=8)
        return figure


def draw_fleet(results: FleetResults, file: Path) -> None:
    """Write the figure as a PNG."""
    save_figure(fleet_figure(results), file)


def _draw(axes: Axes, own: Sequence[LoadedFleet]) -> None:
    loads = [one.load for one in own]
    for (name, pairs), (colour, marker) in zip(
        {"p99": [one.p99_ms for one in own], "p50": [one.p50_ms for one in own]}.items(),
        STYLES,
        strict=False,
    ):
        predicted = [_or_nan(pair.predicted) for pair in pairs]
        measured = [_or_nan(pair.measured) for pair in pairs]
        axes.plot(loads, predicted, color=colour, label=f"{name}, predicted")
        axes.plot(
            loads,
            measured,
            color=colour,
            marker=marker,
            linestyle="none",
            label=f"{name}, measured",
        )
    axes.set(xlabel="load, share of the predicted saturation", yscale="log")
    draw_grid(axes)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


REGIONS: Regions = {"fleet": region("fleet-mini.json", FleetResults, fleet_table)}
