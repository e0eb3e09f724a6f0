"""Measurement of a bundle's service times on this host."""

import asyncio
import dataclasses
import datetime
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hazgate.classifier import Classifier
from hazgate.engine.logit_store import NO_STORE
from hazgate.engine.options import EngineOptions
from hazgate.engine.providers.table import CPU
from hazgate.errors import BundleError
from hazgate.gate import Gate
from hazgate.judge import gate_with_hazards, open_judge
from hazgate.serving.queue.async_gate import AsyncGate
from hazgate.serving.queue.engine_thread import BatchFacts
from hazgate_scale.capacity.service import costs_of, spread_factor
from hazgate_scale.capacity.times import (
    SCHEMA_VERSION,
    LevelTimes,
    Point,
    RunSpread,
    ServiceTimes,
    VariantTimes,
    Windows,
)

_LENGTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_ROUNDS = 4
# Calls in one turn: as many as fit in this many seconds, within bounds.
_TURN_S = 0.15
_MIN_CALLS, _MAX_CALLS = 4, 60
# Concurrent callers: enough for the engine never to wait for them.
_N_ASKERS = 4
_ASKING_S = 2.0
_WORD = "weather "
_N_WORDS = 12

OnProgress = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSetup:
    """Options of a measured worker, as for `Gate.open`."""

    variant: str | None
    provider: str
    threads: int


def measure_times(bundle: Path, host: WorkerSetup, on_progress: OnProgress) -> ServiceTimes:
    """Time a bundle's rows of several lengths, its start, and the overhead of a text.

    The host should be idle otherwise.

    Args:
        bundle: its directory.
        host: how a worker runs.
        on_progress: called with each step's title and size; returns the step's callback.

    Raises:
        BundleError: the bundle cannot be served here, or its own process does not start.
        InferenceError: a model failed.
    """
    engine = EngineOptions(variant=host.variant, providers=host.provider, threads=host.threads)
    gate = gate_with_hazards(open_judge(bundle, engine=engine), need="a capacity plan")
    spec = gate.level1.spec.tokenizer
    n_special = spec.window_tokens - gate.level1.tokenizer.window_tokens
    windows = Windows(
        special_tokens=n_special,
        window_tokens=spec.window_tokens,
        overlap_tokens=spec.overlap_tokens,
        close_tokens=spec.close_tokens,
        sentences_from_tokens=spec.sentences_from_tokens,
    )
    shortest = n_special + 1
    lengths = sorted(
        {shortest, *(n for n in _LENGTHS if shortest < n < spec.window_tokens), spec.window_tokens}
    )
    levels = (gate.level1, gate.level2)
    seconds = _time_rows(levels, lengths, on_progress("time rows", _ROUNDS * len(lengths) * 2))
    chosen = gate.level1.spec.variants[gate.level1.variant]
    manifest = gate.bundle.manifest
    started = on_progress("start a process", 1)
    start = _start(bundle, gate.level1.variant, host)
    started(1)
    is_gpu = gate.level1.provider != CPU
    variant = VariantTimes(
        batching=chosen.batching,
        level1=_level_times(seconds, 0, lengths),
        level2=_level_times(seconds, 1, lengths),
        spread=_spread(list(seconds.values())),
        text_ms=0.0,
        bundle_bytes=sum(
            manifest.files[name].size_bytes for name in manifest.files_of(gate.level1.variant)
        ),
        cold_start_s=start.cold_start_s,
        rss_bytes=start.rss_bytes,
        unshared_bytes=start.unshared_bytes,
    )
    beside = on_progress("ask for verdicts", 1)
    text_ms = 1e3 * _beside_s(gate, variant, windows)
    beside(1)
    return ServiceTimes(
        schema_version=SCHEMA_VERSION,
        model=manifest.name,
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        machine=_machine(),
        unit="gpu" if is_gpu else "core",
        units_per_worker=1 if is_gpu else host.threads,
        windows=windows,
        variants={gate.level1.variant: dataclasses.replace(variant, text_ms=text_ms)},
    )


def _time_rows(
    levels: Sequence[Classifier], lengths: Sequence[int], on_step: Callable[[int], None]
) -> dict[tuple[int, int], list[float]]:
    """Time runs of one row by level and tokens, in rounds, so that all share drifts."""
    seconds: dict[tuple[int, int], list[float]] = {
        (i, n): [] for i in range(len(levels)) for n in lengths
    }
    for turn in range(_ROUNDS):
        for (i, n), found in seconds.items():
            taken = _time_row(levels[i], n)
            # The first round warms up: it allocates memory that later ones reuse.
            if turn:
                found += taken
            on_step(1)
    return seconds


def _time_row(level: Classifier, n_tokens: int) -> list[float]:
    (tokens,) = level.tokenizer.encode([_WORD * n_tokens])
    ids = tokens.windows[0].input_ids
    row = (*ids[: n_tokens - 1], ids[-1])
    taken: list[float] = []
    while len(taken) < _MIN_CALLS or (sum(taken) < _TURN_S and len(taken) < _MAX_CALLS):
        began = time.perf_counter()
        level.logits_of_ids([row])
        taken.append(time.perf_counter() - began)
    return taken


def _level_times(
    seconds: dict[tuple[int, int], list[float]], level: int, lengths: Sequence[int]
) -> LevelTimes:
    # Noise must not make the longer of two equally fast lengths faster.
    medians = np.maximum.accumulate([1e3 * np.median(seconds[level, n]) for n in lengths])
    points = tuple(Point(tokens=n, ms=float(ms)) for n, ms in zip(lengths, medians, strict=True))
    return LevelTimes(points=points, source="hazgate plan --measure")


def _spread(found: Sequence[Sequence[float]]) -> RunSpread:
    ratios = np.concatenate([np.array(taken) / np.median(taken) for taken in found])
    p5, p95, p99 = (float(p) for p in np.percentile(ratios, [5, 95, 99]))
    return RunSpread(p5=min(p5, 1.0), p95=max(p95, 1.0), p99=max(p99, p95, 1.0))


@dataclass(kw_only=True, slots=True)
class _Asked:
    """Counts of a queue's runs during a measurement."""

    n_runs: int = 0
    n_texts: int = 0
    n_tokens: int = 0

    def add(self, facts: BatchFacts) -> None:
        self.n_runs += 1
        self.n_texts += facts.n_requests
        self.n_tokens += facts.n_tokens


def _beside_s(gate: Gate, variant: VariantTimes, windows: Windows) -> float:
    """Measure the seconds of a text outside its runs, with an `AsyncGate` that is always busy."""
    text = (_WORD * _N_WORDS).strip()
    is_flagged = gate.check(text).flagged
    asked = _Asked()
    began = time.perf_counter()
    asyncio.run(_ask(gate, text, asked))
    elapsed_s = time.perf_counter() - began
    costs = costs_of([round(asked.n_tokens / asked.n_texts)], variant, windows)
    per_run_s = costs.run_level1_s + is_flagged * costs.run_level2_s
    per_text_s = float(costs.level1_s[0] + is_flagged * costs.level2_s[0])
    # Run times vary; their mean is not their median.
    mean_factor = float(spread_factor(variant.spread, (np.arange(1000) + 0.5) / 1000).mean())
    models_s = mean_factor * (asked.n_runs * per_run_s + asked.n_texts * per_text_s)
    return max(0.0, elapsed_s - models_s) / asked.n_texts


async def _ask(gate: Gate, text: str, asked: _Asked) -> None:
    # A store would answer what the engine is timed on.
    async with AsyncGate(gate, store=NO_STORE, on_batch=asked.add) as served:
        until = time.perf_counter() + _ASKING_S

        async def one(n: int) -> None:
            i = n
            while time.perf_counter() < until:
                # Equal texts would be computed once.
                await served.check(f"{text} {i}")
                i += _N_ASKERS

        await asyncio.gather(*map(one, range(_N_ASKERS)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Start:
    """Results of `hazgate_scale.capacity.starting`."""

    cold_start_s: float
    rss_bytes: int
    unshared_bytes: int


def _start(bundle: Path, variant: str, host: WorkerSetup) -> _Start:
    """Measure cold start and memory of a worker in its own process."""
    arguments = [str(bundle), variant, host.provider, str(host.threads)]
    began = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "hazgate_scale.capacity.starting", *arguments],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None, "stdout is a pipe"
        first = process.stdout.readline()
        cold_start_s = time.perf_counter() - began
        second = process.stdout.readline()
    if first != "ready\n" or not second:
        raise BundleError("a worker in its own process did not start; see its output above")
    return _Start(cold_start_s=cold_start_s, **json.loads(second))


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
