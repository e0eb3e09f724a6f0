"""The runner: each system in a process of its own, every case on every system, in turns."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.messages import Loaded, Logits, Memory, Timed, WorkerRequest
from benchmarks.harness.process import Worker, start_worker
from benchmarks.harness.turns import Turn, plan_turns
from hazgate.cli.progress import track


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedCase:
    """One turn's calls of a workload: `n_warm` untimed ones, then `n_calls` timed ones."""

    workload: str
    n_calls: int
    n_warm: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningSystem:
    """A system whose process is ready; `start_s` is from the process's start until then."""

    worker: Worker
    loaded: Loaded
    start_s: float

    def time(self, case: TimedCase) -> tuple[float, ...]:
        """Run a case and return the seconds of its timed calls."""
        request = WorkerRequest(
            action="time", name=case.workload, n_warm=case.n_warm, n_calls=case.n_calls
        )
        return self.worker.ask(request, Timed).seconds

    def logits(self, level: str = "") -> NDArray[np.float32]:
        """Return logits [n_rows, n_labels] of the setup's rows."""
        request = WorkerRequest(action="logits", name=level)
        return np.array(self.worker.ask(request, Logits).rows, dtype=np.float32)

    def memory(self) -> Memory:
        """Return the process's resident sets."""
        return self.worker.ask(WorkerRequest(action="memory"), Memory)


def start_system(
    stack: ExitStack, name: str, module: str, setup: object, *, threads: int
) -> RunningSystem:
    """Start a system's process, which ends with `stack`, and wait until it has loaded.

    Args:
        stack: ends the process.
        name: the system's, for messages.
        module: the worker's module; it answers as `benchmarks.harness.worker.serve` does.
        setup: its first request.
        threads: what the system may use.

    Raises:
        WorkerFailed: the system did not load.
    """
    start = time.perf_counter()
    worker = stack.enter_context(start_worker(name, ["-m", module], threads=threads))
    loaded = worker.ask(setup, Loaded)
    return RunningSystem(worker=worker, loaded=loaded, start_s=time.perf_counter() - start)


def run_turns(
    systems: Mapping[str, RunningSystem],
    workloads: Sequence[str],
    case_of: Callable[[Turn], TimedCase | None],
    *,
    rounds: int,
    seed: int,
    title: str,
) -> Iterator[tuple[Turn, tuple[float, ...]]]:
    """Yield each turn as it has been taken, with the seconds of its timed calls.

    Args:
        systems: by name.
        workloads: their names, in the order in which they are run in each round.
        case_of: what a turn calls; None leaves it out.
        rounds: how often each system runs each workload.
        seed: of the order of systems.
        title: of the progress bar.

    Raises:
        WorkerFailed: a system failed.
    """
    every_turn = plan_turns(list(systems), workloads, rounds=rounds, seed=seed)
    cases = [(turn, case_of(turn)) for turn in every_turn]
    taken = [(turn, case) for turn, case in cases if case is not None]
    for turn, case in track(taken, title):
        yield turn, systems[turn.system].time(case)
