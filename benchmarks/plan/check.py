"""`python -m benchmarks.plan.check`: is what `hazgate plan` predicts of this machine so?

Service times are measured as `hazgate plan --measure` does. Then engines of one thread, each a
process pinned to a processor, are asked about corpus texts at random times; the simulation gets
the same texts at the same times. Each worker has arrivals of its own, which is what random routing
to several of them is.
"""

import math
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.machine import describe_machine, today
from benchmarks.harness.process import REPOSITORY, Worker, start_worker
from benchmarks.harness.store import DISTRIBUTIONS, RESULTS, SCHEMA_VERSION, Comparison, load, save
from benchmarks.load.arrivals import DEADLINE_S, arrivals
from benchmarks.load.measure import corpus_texts
from benchmarks.load.messages import Found, InProcess, Rate, Ready, Request, Setup
from benchmarks.plan.results import (
    BenchCheck,
    FleetResults,
    LoadedFleet,
    Pair,
    SaturatedFleet,
    fleet_figure,
    fleet_table,
)
from benchmarks.speed.workloads import BULK, TEXT
from hazgate.classifier import DEFAULT_MAX_BATCH_TOKENS
from hazgate.cli.progress import track
from hazgate.errors import HazgateError
from hazgate.gate import Gate
from hazgate.serving.queue.backlog import Limits
from hazgate.text.batching import plan_batches
from hazgate_scale.capacity.fleet import Fate, Fleet, simulate
from hazgate_scale.capacity.measure import Host, measure_times
from hazgate_scale.capacity.service import Costs, Floats, costs_of
from hazgate_scale.capacity.times import ServiceTimes
from hazgate_scale.capacity.traffic import Traffic

LOADS = (0.3, 0.5, 0.7, 0.85)
_SEED = 20267
# So many wait for answers that batches are as large as they get.
_N_ASKERS = 32
_WARM_UP_S = 1.0
# The corpus has one text of 1,508 tokens, which takes one thread about as long as the deadline is:
# whether it is answered or dropped unread would decide every figure.
_MAX_TOKENS = 512
# Texts of the simulation of a fleet that always has something to do.
_N_SATURATED = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """What is asked about: lengths with special tokens, and whether each is flagged."""

    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    flagged: tuple[bool, ...]


def check_fleet(
    bundle: Path, variant: str, worker_counts: Sequence[int], *, seconds: float, command: str
) -> FleetResults:
    """Measures service times, asks fleets of each size, and predicts the same.

    Args:
        bundle: what is served.
        variant: its variant.
        worker_counts: processes at a time; more than there are processors share them.
        seconds: of a load.
        command: what a reader types to repeat it; recorded.

    Raises:
        HazgateError: the bundle cannot be served.
        BenchmarkError: a worker did not start, or `make bench` has left no results.
    """
    processors = sorted(os.sched_getaffinity(0))
    gate = Gate.open(bundle, variant=variant, threads=1)
    every_text = read_texts(gate, corpus_texts())
    texts = shorter(every_text, _MAX_TOKENS)
    times = _measure(bundle, variant, processors[0])
    costs = costs_of(texts.lengths, times.variants[variant], times.windows)
    capacity = saturated_rate(costs, texts)
    saturated: list[SaturatedFleet] = []
    loaded: list[LoadedFleet] = []
    for n_workers in worker_counts:
        on = [processors[i % len(processors)] for i in range(n_workers)]
        predicted = min(n_workers, len(processors)) * capacity
        with _workers(bundle, variant, texts.texts, on) as workers:
            measured = _saturate(workers, seconds)
            saturated.append(
                SaturatedFleet(
                    n_workers=n_workers, texts_per_s=Pair(predicted=predicted, measured=measured)
                )
            )
            # Engines that take turns on a processor are no queues of their own.
            if n_workers <= len(processors):
                loaded += [
                    _load(workers, costs, texts, share, share * predicted, seconds)
                    for share in track(LOADS, f"load {n_workers} workers")
                ]
    after = _measure(bundle, variant, processors[0])
    costs_after = costs_of(texts.lengths, after.variants[variant], after.windows)
    return FleetResults(
        schema_version=SCHEMA_VERSION,
        name=gate.bundle.manifest.name,
        bundle_digest=gate.bundle.digest,
        variant=variant,
        date=today(),
        command=command,
        machine=describe_machine((*DISTRIBUTIONS, "simpy")),
        seconds=seconds,
        deadline_s=DEADLINE_S,
        median_tokens=int(np.median(texts.lengths)),
        longest_tokens=max(texts.lengths),
        flagged_share=float(np.mean(texts.flagged)),
        times=times,
        drift=capacity / saturated_rate(costs_after, texts) - 1,
        saturated=tuple(saturated),
        loaded=tuple(loaded),
        bench=bench_checks(load(Comparison, RESULTS / "mini.json"), every_text),
    )


def read_texts(gate: Gate, texts: Sequence[str]) -> Texts:
    """Lengths and verdicts of texts."""
    n_special = gate.level1.spec.tokenizer.window_tokens - gate.level1.tokenizer.window_tokens
    verdicts = gate.check_many(texts)
    return Texts(
        texts=tuple(texts),
        lengths=tuple(verdict.tokens.total + n_special for verdict in verdicts),
        flagged=tuple(verdict.flagged for verdict in verdicts),
    )


def shorter(texts: Texts, max_tokens: int) -> Texts:
    """Those of at most so many tokens."""
    kept = [i for i, n in enumerate(texts.lengths) if n <= max_tokens]
    return Texts(
        texts=tuple(texts.texts[i] for i in kept),
        lengths=tuple(texts.lengths[i] for i in kept),
        flagged=tuple(texts.flagged[i] for i in kept),
    )


def saturated_rate(costs: Costs, texts: Texts) -> float:
    """Texts a second of one worker that always has something to do, by simulation."""
    order = np.arange(_N_SATURATED) % len(texts.texts)
    traffic = Traffic(
        arrivals_s=np.zeros(_N_SATURATED),
        flagged=np.array(texts.flagged)[order],
        costs=costs.take(order),
    )
    endless = Limits(max_queue_requests=2 * _N_SATURATED, max_queue_tokens=2**40)
    outcome = simulate(Fleet(n_workers=1, limits=endless, timeout_s=1e9), traffic, seed=_SEED)
    return _N_SATURATED / float(outcome.latency_s.max())


def bench_checks(results: Comparison, texts: Texts) -> tuple[BenchCheck, ...]:
    """What `make bench` measured of each variant, beside what hazgate's wheel predicts of it.

    There, only the first window of a text is read: one by one by Level 1, in bulk by both levels.
    """
    times = ServiceTimes.of_model("mini")
    lengths = [min(n, times.windows.window_tokens) for n in texts.lengths]
    flagged = np.array(texts.flagged)
    checks: list[BenchCheck] = []
    for name, variant in times.variants.items():
        costs = costs_of(lengths, variant, times.windows)
        one_by_one_s = float(costs.alone_s(flagged=False).sum())
        n_gate, n_hazards = (
            len(plan_batches(rows, DEFAULT_MAX_BATCH_TOKENS, variant.batching))
            for rows in (lengths, [n for n, one in zip(lengths, flagged, strict=True) if one])
        )
        in_bulk_s = float(
            costs.gate_s.sum()
            + n_gate * costs.run_gate_s
            + costs.hazards_s[flagged].sum()
            + n_hazards * costs.run_hazards_s
        )
        titles = {TEXT: "texts one by one, Level 1", BULK: "texts in bulk, both levels"}
        for workload, predicted_s in {TEXT: one_by_one_s, BULK: in_bulk_s}.items():
            measured_s = statistics.median(
                figures.total_s
                for figures in results.rounds
                if (figures.workload, figures.system) == (workload, f"onnx-{name}")
            )
            pair = Pair(predicted=len(lengths) / predicted_s, measured=len(lengths) / measured_s)
            checks.append(BenchCheck(variant=name, workload=titles[workload], texts_per_s=pair))
    return tuple(checks)


def _measure(bundle: Path, variant: str, processor: int) -> ServiceTimes:
    with pinned(processor):
        host = Host(variant=variant, provider="cpu", threads=1)
        return measure_times(bundle, host, lambda *_: lambda _: None)


@contextmanager
def pinned(processor: int) -> Iterator[None]:
    """What this thread starts meanwhile, threads and processes, runs on that processor only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _workers(
    bundle: Path, variant: str, texts: tuple[str, ...], processors: Sequence[int]
) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        workers = []
        for i, processor in enumerate(processors):
            with pinned(processor):
                one = start_worker(f"worker {i}", ["-m", "benchmarks.load.asker"], threads=1)
                workers.append(stack.enter_context(one))
        gate = InProcess(bundle=str(bundle), variant=variant, threads=1, way="async")
        for worker in workers:
            worker.ask(Setup(texts=texts, gate=gate), Ready)
        yield workers


def _saturate(workers: Sequence[Worker], seconds: float) -> float:
    """Texts a second of all together."""

    def ask(worker: Worker) -> Rate:
        # Every length's first run allocates what later ones find.
        for length_s in (_WARM_UP_S, seconds):
            request = Request(action="saturate", n_askers=_N_ASKERS, seconds=length_s)
            rate = worker.ask(request, Rate)
        return rate

    with ThreadPoolExecutor(len(workers)) as pool:
        return sum(rate.answers_per_s for rate in pool.map(ask, workers))


def _load(
    workers: Sequence[Worker],
    costs: Costs,
    texts: Texts,
    share: float,
    rate: float,
    seconds: float,
) -> LoadedFleet:
    asked = [
        arrivals(rate / len(workers), seconds, _SEED + 100 * i + int(100 * share))
        for i in range(len(workers))
    ]
    first = [i * len(texts.texts) // len(workers) for i in range(len(workers))]

    def ask(i: int) -> list[float]:
        request = Request(action="offer", times=tuple(asked[i]), first=first[i])
        return [_latency_s(taken) for taken in workers[i].ask(request, Found).taken_s]

    with ThreadPoolExecutor(len(workers)) as pool:
        measured = np.concatenate(list(pool.map(ask, range(len(workers)))))
    predicted = np.concatenate(
        [_simulated_s(costs, texts, asked[i], first[i], i) for i in range(len(workers))]
    )
    return LoadedFleet(
        n_workers=len(workers),
        load=share,
        rate=rate,
        p50_ms=_pair(predicted, measured, lambda s: _percentile_ms(s, 50)),
        p99_ms=_pair(predicted, measured, lambda s: _percentile_ms(s, 99)),
        answered_share=_pair(predicted, measured, lambda s: float(np.isfinite(s).mean())),
    )


def _latency_s(taken: float | None) -> float:
    """What is late or refused has no latency."""
    return math.inf if taken is None or math.isnan(taken) else taken


def _simulated_s(
    costs: Costs, texts: Texts, asked: Sequence[float], first: int, worker: int
) -> Floats:
    order = (first + np.arange(len(asked))) % len(texts.texts)
    traffic = Traffic(
        arrivals_s=np.array(asked),
        flagged=np.array(texts.flagged)[order],
        costs=costs.take(order),
    )
    outcome = simulate(Fleet(n_workers=1, timeout_s=DEADLINE_S), traffic, seed=_SEED + worker)
    assert outcome.count(Fate.PENDING) == 0, "the simulation ends when all have their fate"
    return outcome.latency_s


def _pair(predicted: Floats, measured: Floats, figure: Callable[[Floats], float | None]) -> Pair:
    return Pair(predicted=figure(predicted), measured=figure(measured))


def _percentile_ms(latency_s: Floats, percent: float) -> float | None:
    value = 1e3 * float(np.percentile(latency_s, percent, method="higher"))
    return value if math.isfinite(value) else None


@click.command(epilog="Example: python -m benchmarks.plan.check --seconds 12")
@click.option("--variant", default="int8-fused", show_default=True)
@click.option("--seconds", type=click.FloatRange(min=1), default=12, show_default=True)
@click.option(
    "--workers",
    "worker_counts",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 2, 3, 4),
    show_default=True,
    help="Processes at a time; may be given several times.",
)
def main(variant: str, seconds: float, worker_counts: tuple[int, ...]) -> None:
    """Check the plan against `build/mini` on this machine, write the results, draw the figure."""
    counts = "".join(f" --workers {n}" for n in worker_counts)
    command = f"python -m benchmarks.plan.check --variant {variant} --seconds {seconds:g}{counts}"
    try:
        results = check_fleet(
            REPOSITORY / "build" / "mini", variant, worker_counts, seconds=seconds, command=command
        )
    except (BenchmarkError, HazgateError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    file = RESULTS / "fleet-mini.json"
    save(results, file)
    results = load(FleetResults, file)
    fleet_figure(results).savefig(file.with_suffix(".png"), metadata={"Software": None})
    click.echo(f"{fleet_table(results)}\n\n{file}")


if __name__ == "__main__":
    main()
