"""`python -m benchmarks.load`: latency and goodput under open-loop load.

Requests come at random times, at a rate that does not wait for answers (Poisson arrivals), as a
gateway's do. The rates are multiples of what the engine answers one text after another. Each
request has a deadline; what is not answered by then does not count.
"""

import asyncio
import math
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import numpy as np
from matplotlib.figure import Figure

from benchmarks.errors import BenchmarkError
from benchmarks.machine import Machine, describe_machine, today
from benchmarks.markdown import table
from benchmarks.process import REPOSITORY
from benchmarks.results import DISTRIBUTIONS, RESULTS, SCHEMA_VERSION, load, save
from benchmarks.server import serving
from hazgate import DeadlineExceeded, Gate, HazgateError, Overloaded
from hazgate.evaluation.plots import STYLES, style
from hazgate.serving.async_gate import AsyncGate
from hazgate_export.corpus import load_corpus
from hazgate_export.progress import track

LOADS = (0.3, 0.6, 0.9, 1.2, 2.0)
_SEED = 20264
_WARM_UP_TEXTS = 60
# A request's: ten times what the longest text of the corpus takes on a slow machine.
_DEADLINE_S = 0.5
# The way there and back is the caller's time too.
_SERVER_TIMEOUT_S = 0.7 * _DEADLINE_S

Ask = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadFigures:
    """One system at one load.

    `load` is a multiple of the rate of one text after another. `answered` came within the
    deadline, `shed` were refused or dropped, `late` are neither; latencies in milliseconds are of
    what was answered.
    """

    system: str
    load: float
    offered: int
    answered: int
    shed: int
    late: int
    seconds: float
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadResults:
    """Everything that one run measured; `unit_rate` is texts a second, one after another."""

    schema_version: int
    name: str
    variant: str
    date: str
    command: str
    machine: Machine
    deadline_s: float
    unit_rate: float
    direct_p50_ms: float
    figures: tuple[LoadFigures, ...]


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Times of a Poisson process of `rate` events a second, from 0 to `seconds`."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1 / rate, size=int(2 * rate * seconds) + 50)
    times = np.cumsum(gaps)
    return [float(t) for t in times[times < seconds]]


async def offer(ask: Ask, texts: Sequence[str], times: Sequence[float]) -> list[float | None]:
    """Asks at the given times, whatever came back by then.

    Returns:
        Seconds to each answer from the time at which it should have been asked; NaN where it was
        refused, None where it was too late.
    """
    found: list[float | None] = [None] * len(times)
    begin = time.perf_counter()

    async def one(i: int) -> None:
        refused = not await ask(texts[i % len(texts)])
        taken = time.perf_counter() - begin - times[i]
        found[i] = math.nan if refused else taken if taken <= _DEADLINE_S else None

    tasks = []
    for i, at in enumerate(times):
        delay = begin + at - time.perf_counter()
        # Even if it is late already, the loop must get its turn.
        await asyncio.sleep(max(0.0, delay))
        tasks.append(asyncio.create_task(one(i)))
    await asyncio.gather(*tasks)
    return found


def figures_of(system: str, load: float, found: Sequence[float | None], s: float) -> LoadFigures:
    """What became of the requests."""
    answered = [1e3 * taken for taken in found if taken is not None and not math.isnan(taken)]
    return LoadFigures(
        system=system,
        load=load,
        offered=len(found),
        answered=len(answered),
        shed=sum(taken is not None and math.isnan(taken) for taken in found),
        late=sum(taken is None for taken in found),
        seconds=s,
        p50_ms=float(np.percentile(answered, 50)) if answered else None,
        p99_ms=float(np.percentile(answered, 99)) if answered else None,
    )


def measure_load(bundle: Path, variant: str, seconds: float, command: str) -> LoadResults:
    """Every system at every load, systems in turn.

    Raises:
        HazgateError: the bundle cannot be served.
        BenchmarkError: the server did not start.
    """
    texts = [text.text for text in load_corpus()]
    random = np.random.default_rng(_SEED)
    texts = [texts[i] for i in random.permutation(len(texts)).tolist()]
    gate = Gate.open(bundle, variant=variant)
    for text in texts[:_WARM_UP_TEXTS]:
        gate.check(text)
    taken = []
    for text in texts:
        start = time.perf_counter()
        gate.check(text)
        taken.append(time.perf_counter() - start)
    unit_rate = 1 / statistics.mean(taken)
    figures = []
    with serving(bundle, "--config", _write_settings(variant)) as server:
        turns = [(load, name) for load in LOADS for name in ("direct", "embedded", "http")]
        for load_, name in track(turns, f"load on {gate.model.bundle}"):
            times = arrivals(load_ * unit_rate, seconds, _SEED + int(100 * load_))
            found = asyncio.run(_run(name, gate, server.url, texts, times))
            figures.append(figures_of(name, load_, found, seconds))
    return LoadResults(
        schema_version=SCHEMA_VERSION,
        name=gate.model.bundle,
        variant=variant,
        date=today(),
        command=command,
        machine=describe_machine(DISTRIBUTIONS),
        deadline_s=_DEADLINE_S,
        unit_rate=unit_rate,
        direct_p50_ms=1e3 * statistics.median(taken),
        figures=tuple(figures),
    )


_TITLES: Mapping[str, str] = {
    "direct": "gate.check under a lock, one text at a time",
    "embedded": "AsyncGate, embedded",
    "http": "hazgate serve, over HTTP",
}


def load_table(results: LoadResults) -> str:
    """Each system at each load, in Markdown."""
    head = (
        "",
        "load",
        "offered",
        "answered in time",
        "shed",
        "late",
        "goodput, texts/s",
        "p50 ms",
        "p99 ms",
    )
    body = [
        (
            _TITLES[f.system],
            f"{f.load:g}",
            str(f.offered),
            f"{f.answered / f.offered:.1%}" if f.offered else "–",
            str(f.shed),
            str(f.late),
            f"{f.answered / f.seconds:.0f}",
            "–" if f.p50_ms is None else f"{f.p50_ms:.1f}",
            "–" if f.p99_ms is None else f"{f.p99_ms:.1f}",
        )
        for f in results.figures
    ]
    return (
        f"`{results.name}` {results.variant} on {results.machine.summary}. Load 1 is "
        f"{results.unit_rate:.0f} corpus texts a second, one after another (median "
        f"{results.direct_p50_ms:.1f} ms); deadline {1e3 * results.deadline_s:.0f} ms; Poisson "
        f"arrivals; whoever asks runs on the same processors. {results.date}, "
        f"`{results.command}`.\n\n{table(head, body)}"
    )


def load_figure(results: LoadResults) -> Figure:
    """Goodput and latency over the offered load."""
    with style():
        figure = Figure(figsize=(9.6, 4.0), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        for (name, title), (colour, marker) in zip(_TITLES.items(), STYLES, strict=False):
            own = [f for f in results.figures if f.system == name]
            loads = [f.load for f in own]
            goodput = [f.answered / f.seconds / results.unit_rate for f in own]
            left.plot(loads, goodput, color=colour, marker=marker, label=title)
            right.plot(loads, [f.p99_ms for f in own], color=colour, marker=marker)
            right.plot(loads, [f.p50_ms for f in own], color=colour, marker=marker, linestyle=":")
        left.set(xlabel="offered load", ylabel="answered in time, in loads", ylim=(0, None))
        right.set(xlabel="offered load", ylabel="ms: p99, dotted p50", yscale="log")
        left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
        for axes in (left, right):
            axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        return figure


async def _run(
    name: str, gate: Gate, url: str, texts: Sequence[str], times: Sequence[float]
) -> list[float | None]:
    if name == "http":
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=10) as client:

            async def ask_http(text: str) -> bool:
                answer = await client.post("/v1/check", json={"text": text})
                return answer.status_code == httpx.codes.OK

            return await offer(ask_http, texts, times)
    if name == "embedded":
        async with AsyncGate(gate) as served:

            async def ask_embedded(text: str) -> bool:
                try:
                    await served.check(text, timeout_s=_DEADLINE_S)
                except (Overloaded, DeadlineExceeded):
                    return False
                return True

            return await offer(ask_embedded, texts, times)
    lock = threading.Lock()

    def check(text: str) -> None:
        with lock:
            gate.check(text)

    async def ask_direct(text: str) -> bool:
        await asyncio.to_thread(check, text)
        return True

    return await offer(ask_direct, texts, times)


def _write_settings(variant: str) -> Path:
    folder = REPOSITORY / "build" / "load"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "serve.toml"
    config.write_text(
        f'[engine]\nvariant = "{variant}"\n[request]\ntimeout_s = {_SERVER_TIMEOUT_S}\n',
        encoding="utf-8",
    )
    return config


@click.command(epilog="Example: python -m benchmarks.load --variant int8 --seconds 15")
@click.option("--variant", default="int8", show_default=True)
@click.option("--seconds", type=click.FloatRange(min=1), default=15, show_default=True)
def main(variant: str, seconds: float) -> None:
    """Load `build/mini` in three ways and print the table."""
    command = f"python -m benchmarks.load --variant {variant} --seconds {seconds:g}"
    try:
        results = measure_load(REPOSITORY / "build" / "mini", variant, seconds, command)
    except (BenchmarkError, HazgateError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    file = RESULTS / "load-mini.json"
    save(results, file)
    results = load(LoadResults, file)
    load_figure(results).savefig(RESULTS / "load-mini.png", metadata={"Software": None})
    click.echo(f"{load_table(results)}\n\n{file}")


if __name__ == "__main__":
    main()
