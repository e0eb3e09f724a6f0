"""`python -m benchmarks.plan.check`: predictions of `hazgate plan`, checked on this machine.

Service times are measured as `hazgate plan --measure` does. Then engines of one thread, each a
process pinned to a processor, are asked about proof texts at random times; the simulation gets the
same texts at the same times. Each worker has arrivals of its own, as under random routing.
"""

import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.process import REPOSITORY, Worker, start_worker
from benchmarks.harness.processors import pinned
from benchmarks.harness.store import RESULTS, header, load
from benchmarks.harness.texts import shuffled_texts
from benchmarks.load.arrivals import DEADLINE_S, arrivals
from benchmarks.load.messages import (
    AskerReady,
    AskerRequest,
    AskerSetup,
    AskResults,
    InProcess,
    Rate,
)
from benchmarks.plan.results import (
    BenchCheck,
    FleetResults,
    LoadedFleet,
    Pair,
    SaturatedFleet,
    draw_fleet,
    fleet_table,
)
from benchmarks.speed.results import SpeedResults
from benchmarks.speed.workloads import BULK, TEXT
from hazgate.classifier import DEFAULT_MAX_BATCH_TOKENS
from hazgate.cli.progress import track
from hazgate.engine.options import EngineOptions
from hazgate.gate import Gate
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.text.batching import plan_batches
from hazgate_scale.capacity.fleet import Fate, Fleet, simulate
from hazgate_scale.capacity.measure import WorkerSetup, measure_times
from hazgate_scale.capacity.service import Costs, Floats, costs_of
from hazgate_scale.capacity.times import ServiceTimes
from hazgate_scale.capacity.traffic import Traffic

LOADS = (0.3, 0.5, 0.7, 0.85)
_SEED = 20267
# Enough askers that batches reach their full size.
_N_ASKERS = 32
_WARM_UP_S = 1.0
# One proof text has 1,508 tokens and takes one thread about as long as the deadline: whether it
# is answered or dropped unread would decide every figure.
_MAX_TOKENS = 512
# Texts in the simulation of a fleet that is always busy.
_N_SATURATED = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedTexts:
    """Texts to ask about: lengths with special tokens, and whether each is flagged."""

    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    flagged: tuple[bool, ...]


def check_fleet(
    bundle: Path, variant: str, worker_counts: Sequence[int], *, seconds: float, command: str
) -> FleetResults:
    """Measure service times, ask fleets of each size, and predict the same.

    Args:
        bundle: the bundle that is served.
        variant: its variant.
        worker_counts: processes at a time; more than the processors share them.
        seconds: length of one load.
        command: what a reader types to repeat it; recorded.

    Raises:
        HazgateError: the bundle cannot be served.
        BenchmarkError: a worker did not start, or there are no results of `make bench`.
    """
    processors = sorted(os.sched_getaffinity(0))
    gate = Gate.open(bundle, engine=EngineOptions(variant=variant, threads=1))
    every_text = read_texts(gate, shuffled_texts())
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
            # Engines that share a processor are not independent queues.
            if n_workers <= len(processors):
                loaded += [
                    _load(workers, costs, texts, share, share * predicted, seconds)
                    for share in track(LOADS, f"load {n_workers} workers")
                ]
    after = _measure(bundle, variant, processors[0])
    costs_after = costs_of(texts.lengths, after.variants[variant], after.windows)
    return FleetResults(
        header=header(
            gate.bundle.manifest.name,
            command,
            digest=gate.bundle.digest,
            threads=1,
            distributions=("simpy",),
        ),
        variant=variant,
        seconds=seconds,
        deadline_s=DEADLINE_S,
        median_tokens=int(np.median(texts.lengths)),
        longest_tokens=max(texts.lengths),
        flagged_share=float(np.mean(texts.flagged)),
        times=times,
        drift=capacity / saturated_rate(costs_after, texts) - 1,
        saturated=tuple(saturated),
        loaded=tuple(loaded),
        bench=bench_checks(load(SpeedResults, RESULTS / "mini.json"), every_text),
    )


def read_texts(gate: Gate, texts: Sequence[str]) -> CheckedTexts:
    """Read lengths and verdicts of texts."""
    n_special = gate.level1.spec.tokenizer.window_tokens - gate.level1.tokenizer.window_tokens
    verdicts = gate.check_many(texts)
    return CheckedTexts(
        texts=tuple(texts),
        lengths=tuple(verdict.tokens.total + n_special for verdict in verdicts),
        flagged=tuple(verdict.flagged for verdict in verdicts),
    )


def shorter(texts: CheckedTexts, max_tokens: int) -> CheckedTexts:
    """Keep texts of at most `max_tokens`."""
    kept = [i for i, n in enumerate(texts.lengths) if n <= max_tokens]
    return CheckedTexts(
        texts=tuple(texts.texts[i] for i in kept),
        lengths=tuple(texts.lengths[i] for i in kept),
        flagged=tuple(texts.flagged[i] for i in kept),
    )


def saturated_rate(costs: Costs, texts: CheckedTexts) -> float:
    """Simulate one worker that is always busy; return its texts per second."""
    order = np.arange(_N_SATURATED) % len(texts.texts)
    traffic = Traffic(
        arrivals_s=np.zeros(_N_SATURATED),
        flagged=np.array(texts.flagged)[order],
        costs=costs.take(order),
    )
    endless = QueueLimits(max_queue_requests=2 * _N_SATURATED, max_queue_tokens=2**40)
    outcome = simulate(Fleet(n_workers=1, limits=endless, timeout_s=1e9), traffic, seed=_SEED)
    return _N_SATURATED / float(outcome.latency_s.max())


def bench_checks(results: SpeedResults, texts: CheckedTexts) -> tuple[BenchCheck, ...]:
    """Compare `make bench`'s figures of each variant with the packaged service times.

    The benchmark reads the first window of a text: one by one with Level 1, in bulk with both.
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
            costs.level1_s.sum()
            + n_gate * costs.run_level1_s
            + costs.level2_s[flagged].sum()
            + n_hazards * costs.run_level2_s
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
    with pinned({processor}):
        host = WorkerSetup(variant=variant, provider="cpu", threads=1)
        return measure_times(bundle, host, lambda *_: lambda _: None)


@contextmanager
def _workers(
    bundle: Path, variant: str, texts: tuple[str, ...], processors: Sequence[int]
) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        workers = []
        for i, processor in enumerate(processors):
            with pinned({processor}):
                one = start_worker(f"worker {i}", ["-m", "benchmarks.load.asker"], threads=1)
                workers.append(stack.enter_context(one))
        gate = InProcess(bundle=str(bundle), variant=variant, threads=1, way="async")
        for worker in workers:
            worker.ask(AskerSetup(texts=texts, gate=gate), AskerReady)
        yield workers


def _saturate(workers: Sequence[Worker], seconds: float) -> float:
    """Return texts per second of all workers together."""

    def ask(worker: Worker) -> Rate:
        # The first run of each length allocates what later ones use again.
        for length_s in (_WARM_UP_S, seconds):
            request = AskerRequest(action="saturate", n_askers=_N_ASKERS, seconds=length_s)
            rate = worker.ask(request, Rate)
        return rate

    with ThreadPoolExecutor(len(workers)) as pool:
        return sum(rate.answers_per_s for rate in pool.map(ask, workers))


def _load(
    workers: Sequence[Worker],
    costs: Costs,
    texts: CheckedTexts,
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
        request = AskerRequest(action="offer", times=tuple(asked[i]), first=first[i])
        return [_latency_s(taken) for taken in workers[i].ask(request, AskResults).taken_s]

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
    """Return the seconds of an answer; infinite if it was late or refused."""
    return math.inf if taken is None or math.isnan(taken) else taken


def _simulated_s(
    costs: Costs, texts: CheckedTexts, asked: Sequence[float], first: int, worker: int
) -> Floats:
    order = (first + np.arange(len(asked))) % len(texts.texts)
    traffic = Traffic(
        arrivals_s=np.array(asked),
        flagged=np.array(texts.flagged)[order],
        costs=costs.take(order),
    )
    outcome = simulate(Fleet(n_workers=1, timeout_s=DEADLINE_S), traffic, seed=_SEED + worker)
    assert outcome.count(Fate.PENDING) == 0, "the simulation ends when every request has its fate"
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
    help="Processes at a time; repeatable.",
)
@refusals()
def main(variant: str, seconds: float, worker_counts: tuple[int, ...]) -> None:
    """Check the plan against `build/mini` on this machine, write the results, draw the figure."""
    counts = "".join(f" --workers {n}" for n in worker_counts)
    command = f"python -m benchmarks.plan.check --variant {variant} --seconds {seconds:g}{counts}"
    results = check_fleet(
        REPOSITORY / "build" / "mini", variant, worker_counts, seconds=seconds, command=command
    )
    publish(results, RESULTS / "fleet-mini.json", fleet_table, draw_fleet)


if __name__ == "__main__":
    main()
