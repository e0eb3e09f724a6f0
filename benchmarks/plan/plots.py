"""`python -m benchmarks.plan.plots`: simulations of large fleets, for the plan's page.

Lengths of texts have a heavy tail; service times are the full-size stand-in's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.markdown import table
from benchmarks.harness.plots import save_figure
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate.cli.progress import track
from hazgate_evaluation.plots import STYLES, draw_grid, style
from hazgate_scale.capacity.fleet import Fate, Fleet, Outcome, Routing, WorkerFailure, simulate
from hazgate_scale.capacity.search import find_workers, percentile_ms
from hazgate_scale.capacity.service import Costs, costs_of
from hazgate_scale.capacity.times import ServiceTimes
from hazgate_scale.capacity.traffic import Bursts, Traffic, make_traffic

MODEL = "mlcommons-standin"
VARIANT = "int8-fused"
RATES = (100, 300, 1000, 3000, 10_000, 20_000)
BOUNDS_MS = (250, 500)
LOADS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
ROUTINGS: tuple[Routing, ...] = ("random", "two-choices", "least-outstanding")
LOST_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
FLAGGED_SHARE = 0.1

_SEED = 20268
_N_LENGTHS = 20_000
# Lognormal: half of the texts have fewer than 30 tokens, one in a hundred has more than 400.
_MEDIAN_TOKENS = 30
_SIGMA = 1.1
_LIMITS_TOKENS = (3, 4096)
_N_REQUESTS = 60_000
_POLICY_WORKERS = 200
_LOSS_WORKERS = 2000
_LOSS_LOAD = 0.7
_LOSS_REQUESTS = 400_000
_LOSS_AT_SHARE = 0.2
# A worker whose bundle is in the page cache, and deadlines of a strict gateway.
_RESTART_S = 1.5
_DETECTION_S = 0.2
_TIMEOUT_S = 0.25

_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
_PERCENT = FuncFormatter(lambda value, _: f"{value:.0%}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizing:
    """Workers that a rate needs within a bound, with or without bursts."""

    rate: float
    bound_ms: float
    has_bursts: bool
    n_workers: int
    utilisation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Routed:
    """A fleet of one size under one way of routing."""

    routing: str
    load: float
    utilisation: float
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """A fleet that loses a share of its workers at once, until they have started again.

    `unanswered` is the share of requests without an answer in time, in equal parts of the run.
    """

    share: float
    shed_share: float
    late_share: float
    lost_share: float
    p99_ms: float | None
    unanswered: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetPlots:
    """All that one run simulated; `mean_ms` is the time of one text alone.

    `machine` is the one that the service times were measured on.
    """

    header: ResultHeader
    variant: str
    machine: str
    units_per_worker: int
    median_tokens: int
    longest_tokens: int
    mean_ms: float
    loss_workers: int
    loss_rate: float
    loss_s: float
    restart_s: float
    policy_workers: int
    sizes: tuple[Sizing, ...]
    routed: tuple[Routed, ...]
    lost: tuple[Lost, ...]


def heavy_tailed_lengths() -> list[int]:
    """Draw lengths of texts, special tokens included, most of them short."""
    drawn = np.random.default_rng(_SEED).lognormal(np.log(_MEDIAN_TOKENS), _SIGMA, _N_LENGTHS)
    return [int(n) for n in np.clip(np.round(drawn), *_LIMITS_TOKENS)]


def simulate_fleets(command: str) -> FleetPlots:
    """Make every simulation of the page."""
    times = ServiceTimes.of_model(MODEL)
    lengths = heavy_tailed_lengths()
    costs = costs_of(lengths, times.variants[VARIANT], times.windows)
    flagged_s, safe_s = costs.alone_s(flagged=True), costs.alone_s(flagged=False)
    mean_s = float(np.mean(FLAGGED_SHARE * flagged_s + (1 - FLAGGED_SHARE) * safe_s))
    cold_start_s = times.variants[VARIANT].cold_start_s
    fleet = Fleet(n_workers=1, cold_start_s=cold_start_s)
    loss_rate = _LOSS_LOAD * _LOSS_WORKERS / mean_s
    loss_s = _LOSS_REQUESTS / loss_rate
    return FleetPlots(
        # Simulations give the same figures on every machine.
        header=replace(header(MODEL, command), machine=None),
        variant=VARIANT,
        machine=times.machine,
        units_per_worker=times.units_per_worker,
        median_tokens=int(np.median(lengths)),
        longest_tokens=max(lengths),
        mean_ms=1e3 * mean_s,
        loss_workers=_LOSS_WORKERS,
        loss_rate=loss_rate,
        loss_s=loss_s,
        restart_s=_RESTART_S,
        policy_workers=_POLICY_WORKERS,
        sizes=_sizes(fleet, costs),
        routed=_routed(fleet, costs, mean_s),
        lost=_lost(fleet, _traffic(costs, loss_rate, _LOSS_REQUESTS)),
    )


def _traffic(costs: Costs, rate: float, n: int, bursts: Bursts | None = None) -> Traffic:
    return make_traffic(
        costs, rate=rate, n=n, flagged_share=FLAGGED_SHARE, bursts=bursts, seed=_SEED
    )


def _sizes(fleet: Fleet, costs: Costs) -> tuple[Sizing, ...]:
    bursts = Bursts(factor=2, mean_s=0.2, period_s=2)
    asked = [(rate, ms, one) for rate in RATES for ms in BOUNDS_MS for one in (None, bursts)]
    found = []
    for rate, bound_ms, one in track(asked, "workers for a rate"):
        n = max(_N_REQUESTS // 2, int(10 * bound_ms / 1e3 * rate))
        outcome = find_workers(
            fleet,
            _traffic(costs, rate, n, one),
            bound_ms=bound_ms,
            seed=_SEED,
            on_simulation=lambda _: lambda _: None,
        )
        found.append(
            Sizing(
                rate=rate,
                bound_ms=bound_ms,
                has_bursts=one is not None,
                n_workers=outcome.n_workers,
                utilisation=outcome.outcome.utilisation,
            )
        )
    return tuple(found)


def _routed(fleet: Fleet, costs: Costs, mean_s: float) -> tuple[Routed, ...]:
    found = []
    for load_share in track(LOADS, "routing"):
        come = _traffic(costs, load_share * _POLICY_WORKERS / mean_s, _N_REQUESTS)
        for routing in ROUTINGS:
            one = replace(fleet, n_workers=_POLICY_WORKERS, routing=routing)
            outcome = simulate(one, come, seed=_SEED)
            found.append(
                Routed(
                    routing=routing,
                    load=load_share,
                    utilisation=outcome.utilisation,
                    p50_ms=_finite(percentile_ms(outcome, 50)),
                    p99_ms=_finite(percentile_ms(outcome, 99)),
                )
            )
    return tuple(found)


def _lost(fleet: Fleet, come: Traffic) -> tuple[Lost, ...]:
    at_s = _LOSS_AT_SHARE * float(come.arrivals_s[-1])
    found = []
    for share in track(LOST_SHARES, f"loss of some of {_LOSS_WORKERS} workers"):
        failure = WorkerFailure(at_s=at_s, n_workers=round(share * _LOSS_WORKERS))
        one = replace(
            fleet,
            n_workers=_LOSS_WORKERS,
            timeout_s=_TIMEOUT_S,
            cold_start_s=_RESTART_S,
            detection_s=_DETECTION_S,
            failures=(failure,),
        )
        outcome = simulate(one, come, seed=_SEED)
        found.append(
            Lost(
                share=share,
                shed_share=outcome.share(Fate.SHED),
                late_share=outcome.share(Fate.EXPIRED),
                lost_share=outcome.share(Fate.LOST),
                p99_ms=_finite(percentile_ms(outcome, 99)),
                unanswered=_unanswered(outcome, n_parts=50),
            )
        )
    return tuple(found)


def _unanswered(outcome: Outcome, n_parts: int) -> tuple[float, ...]:
    part = (outcome.arrivals_s / outcome.arrivals_s[-1] * n_parts).astype(int).clip(0, n_parts - 1)
    missed = np.bincount(part, weights=outcome.fates != Fate.ANSWERED, minlength=n_parts)
    return tuple((missed / np.bincount(part, minlength=n_parts)).tolist())


def _finite(ms: float) -> float | None:
    return ms if math.isfinite(ms) else None


def workers_figure(results: FleetPlots) -> Figure:
    """Draw workers over the rate."""
    with style():
        figure = Figure(figsize=(6.4, 4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for bound_ms, (colour, marker) in zip(BOUNDS_MS, STYLES, strict=False):
            for has_bursts, line in ((True, "--"), (False, "-")):
                own = [
                    one
                    for one in results.sizes
                    if one.bound_ms == bound_ms and one.has_bursts == has_bursts
                ]
                axes.plot(
                    [one.rate for one in own],
                    [one.n_workers for one in own],
                    color=colour,
                    marker=marker,
                    linestyle=line,
                    label=f"99 % within {bound_ms} ms" + ", twice as many in bursts" * has_bursts,
                )
        least = [one.rate * results.mean_ms / 1e3 for one in results.sizes]
        rates = [one.rate for one in results.sizes]
        axes.plot(rates, least, color="#888888", linewidth=0.8, label="each text by itself")
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="texts a second",
            ylabel=f"workers of {results.units_per_worker} cores",
        )
        axes.xaxis.set_major_formatter(_PLAIN)
        axes.yaxis.set_major_formatter(_PLAIN)
        draw_grid(axes)
        axes.legend(frameon=False, fontsize=8)
        return figure


def routing_figure(results: FleetPlots) -> Figure:
    """Draw p99 over utilisation for each way of routing."""
    with style():
        figure = Figure(figsize=(6.4, 4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for routing, (colour, marker) in zip(ROUTINGS, STYLES, strict=False):
            own = [one for one in results.routed if one.routing == routing]
            busy = [one.utilisation for one in own]
            p99 = [_or_nan(one.p99_ms) for one in own]
            p50 = [_or_nan(one.p50_ms) for one in own]
            axes.plot(busy, p99, color=colour, marker=marker, label=routing)
            axes.plot(busy, p50, color=colour, marker=marker, linestyle=":")
        axes.set(xlabel="workers are busy", ylabel="ms: p99, dotted p50", yscale="log")
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.yaxis.set_major_formatter(_PLAIN)
        draw_grid(axes)
        axes.legend(frameon=False, fontsize=8)
        return figure


def loss_figure(results: FleetPlots) -> Figure:
    """Draw unanswered requests over time for each share of lost workers."""
    with style():
        figure = Figure(figsize=(6.4, 4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for one, (colour, marker) in zip(results.lost[1:], STYLES, strict=False):
            n_parts = len(one.unanswered)
            at_s = [(i + 0.5) / n_parts * results.loss_s for i in range(n_parts)]
            axes.plot(
                at_s,
                one.unanswered,
                color=colour,
                marker=marker,
                markersize=3,
                label=f"{one.share:.0%} end",
            )
        axes.axvline(
            _LOSS_AT_SHARE * results.loss_s, color="#888888", linewidth=0.8, linestyle="--"
        )
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set(xlabel="s", ylabel="requests without an answer in time", ylim=(0, None))
        axes.set_xlim(left=0)
        draw_grid(axes)
        axes.legend(frameon=False, fontsize=8, title=f"of {results.loss_workers} workers")
        return figure


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def plots_table(results: FleetPlots) -> str:
    """Return workers per rate, and the effects of a loss, as tables."""
    sizes: Sequence[tuple[str, ...]] = [
        (
            f"{rate:g}",
            *(
                f"{one.n_workers} ({one.utilisation:.0%})"
                for bound_ms in BOUNDS_MS
                for has_bursts in (False, True)
                for one in results.sizes
                if (one.rate, one.bound_ms, one.has_bursts) == (rate, bound_ms, has_bursts)
            ),
        )
        for rate in RATES
    ]
    size_head = (
        "texts/s",
        *(
            f"workers (busy), 99 % within {bound_ms} ms{', bursts' * has_bursts}"
            for bound_ms in BOUNDS_MS
            for has_bursts in (False, True)
        ),
    )
    lost = [
        (
            f"{one.share:.0%}",
            f"{one.lost_share:.2%}",
            f"{one.late_share:.2%}",
            f"{one.shed_share:.2%}",
            "–" if one.p99_ms is None else f"{one.p99_ms:.0f}",
        )
        for one in results.lost
    ]
    lost_head = ("workers that end", "lost", "late", "shed", "p99 ms of all")
    return (
        f"Simulated, seconds from `{results.header.name}` {results.variant} on {results.machine}, "
        f"{results.units_per_worker} cores a worker; lengths lognormal (median "
        f"{results.median_tokens} tokens, longest {results.longest_tokens}), a text by itself "
        f"{results.mean_ms:.1f} ms on average. `{results.header.command}`.\n\n"
        + table(size_head, sizes)
        + f"\n\n{results.loss_workers} workers at {results.loss_rate:.0f} texts a second for "
        f"{results.loss_s:.1f} s; some end and are there again after {results.restart_s:g} s; "
        f"routers know after {_DETECTION_S:g} s, deadlines are {1e3 * _TIMEOUT_S:.0f} ms:\n\n"
        + table(lost_head, lost)
    )


def draw(results: FleetPlots, folder: Path) -> list[Path]:
    """Write the figures; return their files."""
    figures = {
        "fleet-workers": workers_figure(results),
        "fleet-routing": routing_figure(results),
        "fleet-loss": loss_figure(results),
    }
    files = []
    for name, figure in figures.items():
        files.append(folder / f"{name}.png")
        save_figure(figure, files[-1])
    return files


@click.command(epilog="Example: python -m benchmarks.plan.plots")
@refusals()
def main() -> None:
    """Simulate, write the results, print the tables and draw the figures."""
    results = simulate_fleets("python -m benchmarks.plan.plots")
    publish(results, RESULTS / "fleet-plots.json", plots_table)
    for file in draw(results, RESULTS):
        click.echo(str(file))


REGIONS: Regions = {"fleet-plots": region("fleet-plots.json", FleetPlots, plots_table)}


if __name__ == "__main__":
    main()
