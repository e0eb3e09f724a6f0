"""Measures each system at each load, in turns, then the cost of asyncio and HTTP per call."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.stopwatch import seconds_of
from benchmarks.harness.store import header
from benchmarks.harness.texts import shuffled_texts, token_counts
from benchmarks.load.arrivals import DEADLINE_S, arrivals
from benchmarks.load.messages import AskerRequest, AskResults, Rate
from benchmarks.load.peers.models import write_peer_models
from benchmarks.load.results import (
    LOADS,
    LoadedSystem,
    LoadFigures,
    LoadResults,
    Overhead,
    figures_of,
    next_rate,
    overhead_of,
)
from benchmarks.load.systems import LoadSpec, Running, Surroundings, absent_reason, started
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track

_SEED = 20264
# Askers that wait for answers while a system's rate is measured; more would be late already.
_ASKERS = 8
# The search for saturation starts at this share of the rate that those askers got, and tries at
# most this many rates.
_SEARCH_START = 0.8
_SEARCH_TURNS = 10
_OVERHEAD_LOAD = 0.3
_OVERHEAD_BLOCK = 30
_IDLE_PAUSE_S = 0.2
_IDLE_SHARE = 0.05
_IDLE_LIMIT_S = 60.0

# Of each text that is read: one before it and one behind.
_SPECIAL_TOKENS = 2

_MAX_REASON = 300

_PEERS = ("optimum-onnx", "fastapi", "uvicorn")


def measure_load(
    bundle: Path,
    recipe: Path,
    specs: Sequence[LoadSpec],
    *,
    variant: str,
    seconds: float,
    threads: int,
    overhead_rounds: int,
    command: str,
) -> LoadResults:
    """Measure every system that is installed here; record the others as absent.

    Args:
        bundle: the bundle that hazgate serves.
        recipe: the bundle's recipe, for the peers.
        specs: the systems.
        variant: the bundle's variant in rows that read both levels.
        seconds: length of one turn.
        threads: what each engine may use.
        overhead_rounds: how often each text is asked in each way; 0 leaves overhead out.
        command: what a reader types to repeat it; recorded.

    Raises:
        HazgateError: the bundle cannot be served.
        BenchmarkError: a model could not be converted.
    """
    opened = Bundle.open(bundle)
    texts = shuffled_texts()
    lengths = token_counts(opened, texts)
    window = opened.manifest.levels[opened.manifest.cascade_for("this benchmark").level1].tokenizer
    # Without the special tokens, of which every text has as many.
    short = [n + _SPECIAL_TOKENS <= window.window_tokens for n in lengths]
    peers = write_peer_models(opened, recipe, REPOSITORY / "build" / "peers")
    absent = {spec.name: reason for spec in specs if (reason := absent_reason(spec))}
    with ExitStack() as stack:
        around = Surroundings(
            bundle=bundle,
            peers=peers,
            texts=tuple(texts),
            threads=threads,
            scratch=Path(stack.enter_context(tempfile.TemporaryDirectory())),
        )
        running: dict[str, Running] = {}
        for spec in track([s for s in specs if s.name not in absent], "start systems"):
            system = _start(stack, spec, around)
            if isinstance(system, Running):
                running[spec.name] = system
            else:
                absent[spec.name] = system
        systems = _find_saturation(running, seconds, short)
        figures = tuple(
            _turn(running[system.name], load, load * system.saturation_rate, seconds, short)
            for load, system in track([(load, s) for load in LOADS for s in systems], "load")
        )
        rate = _OVERHEAD_LOAD * _rate_in_turn(running.get("lock"), len(texts))
        overhead = _measure_overhead(running, len(texts), rate, overhead_rounds)
    return LoadResults(
        header=header(
            opened.manifest.name,
            command,
            digest=opened.digest,
            threads=threads,
            distributions=_PEERS,
        ),
        variant=variant,
        deadline_s=DEADLINE_S,
        median_tokens=int(np.median(lengths)),
        longest_tokens=max(lengths),
        overhead_rate=rate,
        systems=systems,
        absent=absent,
        figures=figures,
        overhead=overhead,
    )


def _start(stack: ExitStack, spec: LoadSpec, around: Surroundings) -> Running | str:
    """Start a system that runs until `stack` ends; return it, or why it does not start."""
    try:
        return stack.enter_context(started(spec, around))
    except WorkerFailed as error:
        return str(error)[:_MAX_REASON]


def _find_saturation(
    running: Mapping[str, Running], seconds: float, short: Sequence[bool]
) -> tuple[LoadedSystem, ...]:
    rates: dict[str, float] = {}
    for name, system in track(list(running.items()), "rate without arrivals"):
        # The first run of each length allocates what later ones use again.
        warm_up = AskerRequest(action="saturate", n_askers=1, seconds=seconds / 3)
        system.worker.ask(warm_up, Rate)
        request = AskerRequest(action="saturate", n_askers=_ASKERS, seconds=seconds / 2)
        rates[name] = system.worker.ask(request, Rate).answers_per_s
    best = {
        name: _peak(system, _SEARCH_START * rates[name], seconds, short)
        for name, system in track(list(running.items()), "look for saturation")
    }
    return tuple(
        LoadedSystem(
            name=name,
            title=system.spec.title,
            reads=system.spec.reads,
            unpaced_rate=rates[name],
            saturation_rate=best[name],
        )
        for name, system in running.items()
    )


def _peak(system: Running, rate: float, seconds: float, short: Sequence[bool]) -> float:
    """Return the greatest goodput while the search for saturation goes on from `rate`."""
    tried: list[tuple[float, float]] = []
    best = 0.0
    following: float | None = rate
    while following is not None and len(tried) < _SEARCH_TURNS:
        figures = _turn(system, len(tried), following, seconds, short)
        best = max(best, figures.goodput)
        tried.append((following, figures.goodput))
        following = next_rate(tried)
    # A system that answers nothing in time is loaded all the same.
    return best or rate


def _turn(
    system: Running, load: float, rate: float, seconds: float, short: Sequence[bool]
) -> LoadFigures:
    times = arrivals(rate, seconds, _SEED + int(100 * load))
    _wait_until_idle(system.pids)
    before = None if system.server_pid is None else _cpu_s(system.server_pid)
    found = system.worker.ask(AskerRequest(action="offer", times=tuple(times)), AskResults)
    server_cpu_s = (
        None if system.server_pid is None or before is None else _cpu_s(system.server_pid) - before
    )
    # The system still works on requests that were given up; the next must not pay for it.
    _wait_until_idle(system.pids)
    return figures_of(
        system.spec.name,
        load,
        found.taken_s,
        seconds,
        asker_cpu_s=found.cpu_s,
        server_cpu_s=server_cpu_s,
        # The asker goes through the texts in their order, again and again.
        short=[short[i % len(short)] for i in range(len(found.taken_s))],
    )


def _rate_in_turn(system: Running | None, n_texts: int) -> float:
    """Return texts per second of a caller that asks about each text in turn; 0 without one."""
    if system is None:
        return 0.0
    request = AskerRequest(action="call", times=(0.0,) * n_texts)
    return n_texts / seconds_of(lambda: system.worker.ask(request, AskResults))


def _measure_overhead(
    running: Mapping[str, Running], n_texts: int, rate: float, rounds: int
) -> tuple[Overhead, ...]:
    """Ask about the same texts at the same times, in each way in turn, block after block."""
    ways = {"direct": "lock", "embedded": "embedded", "http": "http"}
    if not rounds or any(name not in running for name in ways.values()):
        return ()
    found: dict[str, list[float | None]] = {way: [] for way in ways}
    firsts = [first for _ in range(rounds) for first in range(0, n_texts, _OVERHEAD_BLOCK)]
    for n, first in track(list(enumerate(firsts)), "overhead"):
        n_block = min(_OVERHEAD_BLOCK, n_texts - first)
        times = tuple(arrivals(rate, 2 * n_block / rate, _SEED + n)[:n_block])
        order = list(ways)[n % 3 :] + list(ways)[: n % 3]
        for way in order:
            system = running[ways[way]]
            request = AskerRequest(
                action="call" if way == "direct" else "offer", times=times, first=first
            )
            found[way] += system.worker.ask(request, AskResults).taken_s
            _wait_until_idle(system.pids)
    added = [overhead_of(way, found["direct"], found[way]) for way in ("embedded", "http")]
    return tuple(one for one in added if one is not None)


def _wait_until_idle(pids: Sequence[int]) -> None:
    """Wait until the processes idle: engines' threads spin, servers finish late work."""
    until = time.monotonic() + _IDLE_LIMIT_S
    while time.monotonic() < until:
        before = sum(map(_cpu_s, pids))
        time.sleep(_IDLE_PAUSE_S)
        if sum(map(_cpu_s, pids)) - before <= _IDLE_SHARE * _IDLE_PAUSE_S:
            return


def _cpu_s(pid: int) -> float:
    """Return processor seconds of a process and its children so far."""
    process = psutil.Process(pid)
    spent = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in spent))
