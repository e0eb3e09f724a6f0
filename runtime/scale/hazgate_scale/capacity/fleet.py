"""Discrete-event simulation of engines behind a router, with their real queue.

Each simulated worker queues requests in `hazgate.serving.queue.backlog.Backlog`, refuses requests
that its `Throughput` does not expect to answer in time, fails, restarts and is rolled out. Not
simulated: the network, the router's own time, and late news of other workers except failures.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import numpy as np
import simpy
from numpy.typing import NDArray

from hazgate.errors import InputError, Overloaded
from hazgate.serving.queue.backlog import Backlog, QueueLimits
from hazgate.serving.queue.throughput import Throughput
from hazgate_scale.capacity.service import Floats, spread_factor
from hazgate_scale.capacity.traffic import Traffic

Routing = Literal["random", "two-choices", "least-outstanding"]
Process = Generator[simpy.Event, None, None]

# A single caller: how callers share the queue does not affect a capacity plan.
_CALLER = ""
_PROGRESS_STEP = 1000
_N_DRAWN = 4096


class Fate(IntEnum):
    """The outcome of a request; each has exactly one.

    EXPIRED requests were dropped unread after their deadline or answered past it; a caller cannot
    tell the two apart. LOST requests ended with their worker.
    """

    PENDING = 0
    ANSWERED = 1
    SHED = 2
    EXPIRED = 3
    LOST = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerFailure:
    """A failure of several workers at once; each restarts."""

    at_s: float
    n_workers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RollOut:
    """A roll-out: `n_at_once` workers at a time drain their queue and restart."""

    at_s: float
    n_at_once: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """Workers, and the events that they go through.

    Attributes:
        n_workers: number of workers, one engine each.
        routing: choice of a request's worker: a random one, the less busy of two, or the least
            busy of all by outstanding requests. Only the last needs a router that sees all.
        limits: limits of each worker's queue and batches.
        timeout_s: time after which an answer is useless.
        cold_start_s: time from the start of a worker to its first answer.
        detection_s: time that a router goes on sending to a worker that has ended.
        failures: in any order.
        roll_out: at most one.
    """

    n_workers: int
    routing: Routing = "two-choices"
    limits: QueueLimits = field(default_factory=QueueLimits)
    timeout_s: float = 2.0
    cold_start_s: float = 1.0
    detection_s: float = 1.0
    failures: tuple[WorkerFailure, ...] = ()
    roll_out: RollOut | None = None

    def __post_init__(self) -> None:
        if self.n_workers < 1:
            raise InputError(f"a fleet needs at least one worker, got {self.n_workers}")
        for name in ("timeout_s", "cold_start_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """Results of a simulation.

    `latency_s` is the time to each request's answer, infinite without an answer in time.
    `utilisation` is the share of time that workers were busy until the last arrival, or until the
    last answer if all requests came at once.
    """

    arrivals_s: Floats
    latency_s: Floats
    fates: NDArray[np.int8]
    utilisation: float

    def count(self, fate: Fate) -> int:
        """Count the requests of one fate."""
        return int((self.fates == fate).sum())

    def share(self, fate: Fate) -> float:
        """Compute the share of requests of one fate."""
        return self.count(fate) / len(self.fates)

    def percentile_ms(self, percent: float, *, since_s: float = 0.0) -> float:
        """Compute a percentile of latency over later requests; unanswered ones are infinite."""
        latency_s = self.latency_s[self.arrivals_s >= since_s]
        return 1e3 * float(np.percentile(latency_s, percent, method="higher"))


def simulate(
    fleet: Fleet,
    traffic: Traffic,
    *,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Send the traffic through the fleet until every request has its fate.

    Args:
        fleet: the workers.
        traffic: the arrivals; at least one request.
        seed: seed of routing and of run times; the same seed gives the same outcome.
        on_progress: called with numbers of requests that arrived.
    """
    simulation = _Simulation(fleet, traffic, seed)
    return simulation.run(on_progress or (lambda _: None))


class _Simulation:
    """State of one simulation: the clock, the workers and every request's fate so far."""

    def __init__(self, fleet: Fleet, traffic: Traffic, seed: int) -> None:
        costs = traffic.costs
        self.fleet = fleet
        self.environment = simpy.Environment()
        # Lists, because single elements of arrays are slow to read.
        self.arrivals_s: list[float] = traffic.arrivals_s.tolist()
        self.level1_s: list[float] = costs.level1_s.tolist()
        level2_s = np.where(traffic.flagged, costs.level2_s, 0.0)
        self.level2_s: list[float] = level2_s.tolist()
        self.is_flagged: list[bool] = traffic.flagged.tolist()
        self.n_tokens: list[int] = costs.n_tokens.tolist()
        self.run_level1_s, self.run_level2_s = costs.run_level1_s, costs.run_level2_s
        self.fates = [Fate.PENDING] * len(traffic)
        self.latency_s = [float("inf")] * len(traffic)
        streams = np.random.SeedSequence(seed).spawn(3)
        self._routing_random, self._run_random, self._failure_random = map(
            np.random.default_rng, streams
        )
        self._spread = costs.spread
        self._factors: list[float] = []
        self._picks: list[float] = []
        # Requests at each worker; infinite for workers that the router skips.
        self.outstanding = np.zeros(fleet.n_workers)
        self.workers = [_Worker(self, i) for i in range(fleet.n_workers)]
        self.listed = list(range(fleet.n_workers))

    def run(self, on_progress: Callable[[int], None]) -> Outcome:
        for failure in self.fleet.failures:
            self.environment.process(self._fail(failure))
        if self.fleet.roll_out is not None:
            self.environment.process(self._roll_out(self.fleet.roll_out))
        self.environment.process(self._arrive(on_progress))
        self.environment.run()
        busy_s = sum(worker.busy_s for worker in self.workers)
        span_s = self.arrivals_s[-1] or self.environment.now
        return Outcome(
            arrivals_s=np.array(self.arrivals_s),
            latency_s=np.array(self.latency_s),
            fates=np.array(self.fates, dtype=np.int8),
            utilisation=busy_s / (span_s * self.fleet.n_workers),
        )

    def run_factor(self) -> float:
        """Draw the ratio of a run's time to the median."""
        if not self._factors:
            quantiles = self._run_random.random(_N_DRAWN)
            self._factors = spread_factor(self._spread, quantiles).tolist()
        return self._factors.pop()

    def finish(self, request: int, fate: Fate) -> None:
        assert self.fates[request] is Fate.PENDING, "every request has one fate"
        self.fates[request] = fate
        if fate is Fate.ANSWERED:
            self.latency_s[request] = self.environment.now - self.arrivals_s[request]

    def list_worker(self, worker: "_Worker", *, is_listed: bool) -> None:
        """Set whether the router sends to that worker from now on."""
        if is_listed and worker.index not in self.listed:
            self.listed.append(worker.index)
            self.outstanding[worker.index] = worker.n_outstanding
        elif not is_listed and worker.index in self.listed:
            self.listed.remove(worker.index)
            self.outstanding[worker.index] = np.inf

    def _arrive(self, on_progress: Callable[[int], None]) -> Process:
        environment = self.environment
        for i, at_s in enumerate(self.arrivals_s):
            if at_s > environment.now:
                yield environment.timeout(at_s - environment.now)
            if not self.listed:
                self.finish(i, Fate.SHED)
            else:
                self.workers[self._route()].offer(i)
            if (i + 1) % _PROGRESS_STEP == 0:
                on_progress(_PROGRESS_STEP)
        on_progress(len(self.arrivals_s) % _PROGRESS_STEP)

    def _route(self) -> int:
        if self.fleet.routing == "random":
            return self._any()
        if self.fleet.routing == "two-choices":
            first, second = self._any(), self._any()
            return second if self.outstanding[second] < self.outstanding[first] else first
        least = np.flatnonzero(self.outstanding == self.outstanding.min())
        return int(least[int(self._pick() * len(least))])

    def _any(self) -> int:
        return self.listed[int(self._pick() * len(self.listed))]

    def _pick(self) -> float:
        if not self._picks:
            self._picks = self._routing_random.random(_N_DRAWN).tolist()
        return self._picks.pop()

    def _fail(self, failure: WorkerFailure) -> Process:
        yield self.environment.timeout(failure.at_s)
        running = [worker for worker in self.workers if worker.is_up]
        n = min(failure.n_workers, len(running))
        for index in self._failure_random.choice(len(running), size=n, replace=False):
            self.environment.process(self._restart_failed(running[index]))

    def _restart_failed(self, worker: "_Worker") -> Process:
        worker.end()
        detection_s = min(self.fleet.detection_s, self.fleet.cold_start_s)
        yield self.environment.timeout(detection_s)
        self.list_worker(worker, is_listed=False)
        yield self.environment.timeout(self.fleet.cold_start_s - detection_s)
        worker.start()

    def _roll_out(self, roll_out: RollOut) -> Process:
        yield self.environment.timeout(roll_out.at_s)
        for first in range(0, len(self.workers), roll_out.n_at_once):
            group = self.workers[first : first + roll_out.n_at_once]
            restarts = [self.environment.process(self._restart_drained(one)) for one in group]
            yield self.environment.all_of(restarts)

    def _restart_drained(self, worker: "_Worker") -> Process:
        # A failed worker restarts with the new release anyway.
        if not worker.is_up:
            return
        self.list_worker(worker, is_listed=False)
        yield worker.drained()
        if worker.is_up:
            worker.end()
            yield self.environment.timeout(self.fleet.cold_start_s)
            worker.start()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Queued:
    """A request in a worker's queue."""

    request: int
    n_tokens: int
    deadline_s: float
    caller: str = _CALLER


class _Worker:
    """One engine: its queue and the process that empties it."""

    def __init__(self, simulation: _Simulation, index: int) -> None:
        self.index = index
        self.busy_s = 0.0
        self.is_up = True
        self._simulation = simulation
        self._backlog: Backlog[_Queued] = Backlog(simulation.fleet.limits)
        self._batch: tuple[int, ...] = ()
        self._throughput = Throughput()
        self._drained: simpy.Event | None = None
        self._wake = simulation.environment.event()
        self._process = simulation.environment.process(self._work())

    @property
    def n_outstanding(self) -> int:
        """Requests at this worker without a fate yet."""
        return self._backlog.n_requests + len(self._batch)

    def offer(self, request: int) -> None:
        """Queue a request, shed it, or lose it if the worker is down."""
        simulation = self._simulation
        if not self.is_up:
            simulation.finish(request, Fate.LOST)
            return
        n_tokens = simulation.n_tokens[request]
        refusal = self._throughput.refusal(
            simulation.environment.now,
            tokens_ahead=self._backlog.tokens_ahead(_CALLER),
            n_tokens=n_tokens,
            timeout_s=simulation.fleet.timeout_s,
        )
        if refusal is not None:
            simulation.finish(request, Fate.SHED)
            return
        queued = _Queued(
            request=request,
            n_tokens=n_tokens,
            deadline_s=simulation.arrivals_s[request] + simulation.fleet.timeout_s,
        )
        try:
            evicted = self._backlog.add(queued)
        except Overloaded:
            simulation.finish(request, Fate.SHED)
            return
        for other in evicted:
            simulation.finish(other.request, Fate.SHED)
        self._count()
        if not self._wake.triggered:
            self._wake.succeed()

    def end(self) -> None:
        """End the worker at once and lose its requests."""
        for request in (*self._batch, *(each.request for each in self._backlog.drain())):
            self._simulation.finish(request, Fate.LOST)
        self._batch = ()
        self.is_up = False
        self._count()
        self._process.interrupt()
        self._tell_drained()

    def start(self) -> None:
        """Restart the worker and list it."""
        self.is_up = True
        self._throughput = Throughput()
        self._wake = self._simulation.environment.event()
        self._process = self._simulation.environment.process(self._work())
        self._simulation.list_worker(self, is_listed=True)

    def drained(self) -> simpy.Event:
        """Return an event for when the worker has nothing left or has ended."""
        event = self._drained = self._simulation.environment.event()
        self._tell_drained()
        return event

    def _work(self) -> Process:
        environment = self._simulation.environment
        try:
            while True:
                if not self._backlog.n_requests:
                    self._tell_drained()
                    self._wake = environment.event()
                    yield self._wake
                taken = self._backlog.take(environment.now, self._throughput.seconds_per_token)
                for each in taken.expired:
                    self._simulation.finish(each.request, Fate.EXPIRED)
                self._batch = tuple(each.request for each in taken.batch)
                self._count()
                n_tokens = sum(each.n_tokens for each in taken.batch)
                self._throughput.begin(environment.now, n_tokens)
                if not taken.batch:
                    continue
                run_s = self._run_s(self._batch)
                began_s = environment.now
                try:
                    yield environment.timeout(run_s)
                finally:
                    self._count_busy(began_s)
                self._throughput.ran(run_s, n_tokens=n_tokens, n_requests=len(taken.batch))
                self._throughput.end()
                self._answer()
        except simpy.Interrupt:
            return

    def _run_s(self, batch: tuple[int, ...]) -> float:
        simulation = self._simulation
        seconds = simulation.run_level1_s
        seconds += sum(simulation.level1_s[i] + simulation.level2_s[i] for i in batch)
        if any(simulation.is_flagged[i] for i in batch):
            seconds += simulation.run_level2_s
        return seconds * simulation.run_factor()

    def _answer(self) -> None:
        simulation = self._simulation
        now_s, timeout_s = simulation.environment.now, simulation.fleet.timeout_s
        for request in self._batch:
            is_late = now_s > simulation.arrivals_s[request] + timeout_s
            simulation.finish(request, Fate.EXPIRED if is_late else Fate.ANSWERED)
        self._batch = ()
        self._count()

    def _count(self) -> None:
        # The router's infinity for an unlisted worker must stay.
        if self._simulation.outstanding[self.index] != np.inf:
            self._simulation.outstanding[self.index] = self.n_outstanding

    def _count_busy(self, began_s: float) -> None:
        # After the last arrival, work runs out whatever the load was.
        until_s = self._simulation.arrivals_s[-1] or math.inf
        self.busy_s += max(0.0, min(self._simulation.environment.now, until_s) - began_s)

    def _tell_drained(self) -> None:
        if self._drained is not None and not self.n_outstanding:
            self._drained.succeed()
            self._drained = None
