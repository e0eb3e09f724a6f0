"""The engine's thread: forms batches while the engine is busy, runs them, hands out answers."""

import hashlib
import logging
import math
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from hazgate.errors import DeadlineExceeded, HazgateError, InferenceError, Overloaded
from hazgate.gate import Gate, Question
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.backlog import Backlog, Limits, Waiting
from hazgate.serving.queue.throughput import Pace

_LOG = logging.getLogger("hazgate.serving")

# Above, tokenising takes longer than many a run of the engine.
_LONG_CHARACTERS = 16_384

_Key = tuple[bytes, bool, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFacts:
    """What one batch was: for metrics, not for answers.

    `queue_s` is how long its first request had waited, `tokenize_s` of each what passed from its
    arrival to its place in the queue, `n_waiting` how many wait still.
    """

    n_requests: int
    n_tokens: int
    n_waiting: int
    queue_s: float
    run_s: float
    tokenize_s: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """One text on its way to the backlog; `is_alone` if it is all of its request."""

    text: str
    all_levels: bool
    tenant: str | None
    caller: str
    arrived_s: float
    deadline_s: float
    is_alone: bool


@dataclass(kw_only=True, slots=True, eq=False)
class _Job:
    """One question and everyone who waits for its answer."""

    gate: Gate
    question: Question
    key: _Key
    deadline_s: float
    arrived_s: float
    added_s: float
    waiters: list[Future[Verdict]] = field(default_factory=list)


class Batcher:
    """A gate for many threads: one engine thread, a bounded fair queue. Thread-safe.

    While the engine runs, what arrives waits and then runs together, up to a budget of tokens;
    when it is idle a request runs at once: nothing ever waits for company. A text that is asked
    again while it waits or runs gets the same answer, and costs nothing; with `cache_entries` so
    do the last texts answered, until the gate is swapped.

    Overload costs next to nothing: behind so much work that an answer would hardly come in time, a
    request is refused before anything is done for it.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        limits: Limits | None = None,
        cache_entries: int = 0,
        on_batch: Callable[[BatchFacts], None] | None = None,
    ) -> None:
        """Starts the engine's thread.

        Args:
            gate: answers; `swap` replaces it.
            limits: of the queue and of a batch.
            cache_entries: verdicts that are kept by the SHA-256 of their text; 0 for none.
            on_batch: told after every run, on the engine's thread.
        """
        self._gate = gate
        self._limits = limits or Limits()
        self._on_batch = on_batch
        self._backlog: Backlog[_Job] = Backlog(self._limits)
        # The newest job of each text, and what each future waits for.
        self._jobs: dict[_Key, _Job] = {}
        self._job_of: dict[Future[Verdict], _Job] = {}
        self._cache: OrderedDict[_Key, Verdict] = OrderedDict()
        self._cache_entries = cache_entries
        self._closing = False
        self._pace = Pace()
        # Requests that are being tokenised.
        self._n_entering = 0
        self._condition = threading.Condition()
        # Tokenising is short, and done for the next batch while the engine runs this one; long
        # texts are not in the way of short ones.
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="hazgate-tokenize")
        self._tokenizing_long = ThreadPoolExecutor(1, thread_name_prefix="hazgate-tokenize-long")
        self._thread = threading.Thread(target=self._work, name="hazgate-engine", daemon=True)
        self._thread.start()

    @property
    def gate(self) -> Gate:
        """What answers requests from now on."""
        return self._gate

    @property
    def n_waiting(self) -> int:
        """Requests that wait and do not run yet."""
        return self._backlog.n_requests

    @property
    def n_tokens(self) -> int:
        """Tokens of the requests that wait or run: how much the engine has still to do."""
        return self._backlog.n_tokens + self._pace.n_running_tokens

    def swap(self, gate: Gate) -> None:
        """Answers with another gate from now on; what was asked before is answered by the old."""
        with self._condition:
            self._gate = gate
            self._cache.clear()

    def check(
        self,
        text: str,
        *,
        all_levels: bool = False,
        tenant: str | None = None,
        caller: str = "",
        timeout_s: float = math.inf,
    ) -> Verdict:
        """The verdict on one text, waited for; see `submit`.

        Raises:
            InputError: the text cannot be read.
            Overloaded: too much is waiting already.
            DeadlineExceeded: there was no answer in time.
            InferenceError: the model failed.
        """
        future = self.submit(
            text, all_levels=all_levels, tenant=tenant, caller=caller, timeout_s=timeout_s
        )
        try:
            return future.result(None if math.isinf(timeout_s) else timeout_s)
        # A deadline that the engine noticed is a TimeoutError too, in its own words.
        except HazgateError:
            raise
        except FutureTimeoutError:
            self.abandon(future)
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None

    def submit(
        self,
        text: str,
        *,
        all_levels: bool = False,
        tenant: str | None = None,
        caller: str = "",
        timeout_s: float = math.inf,
    ) -> Future[Verdict]:
        """Asks for a verdict and returns at once; tokenising is left to another thread.

        Args:
            text: any text, as `Gate.check` takes it.
            all_levels: as in `Gate.check`.
            tenant: as in `Gate.check`.
            caller: whose turn it is; callers take turns.
            timeout_s: how long an answer is of use. A request before which so much waits is
                refused at once, and one that waited so long is dropped before it is run.

        Returns:
            A future of the verdict, or of what `check` raises. `abandon` takes it back.
        """
        (future,) = self.submit_many(
            [text], all_levels=all_levels, tenant=tenant, caller=caller, timeout_s=timeout_s
        )
        return future

    def submit_many(
        self,
        texts: Sequence[str],
        *,
        all_levels: bool = False,
        tenant: str | None = None,
        caller: str = "",
        timeout_s: float = math.inf,
    ) -> list[Future[Verdict]]:
        """As `submit`, for the texts of one request: they are refused at once together, or none is.

        What waits before the first of them decides; they are not in each other's way.
        """
        futures: list[Future[Verdict]] = [Future() for _ in texts]
        refusal = self._refusal(texts, all_levels, tenant, caller, timeout_s)
        if refusal is not None:
            for future in futures:
                future.set_exception(refusal)
            return futures
        arrived_s = time.monotonic()
        with self._condition:
            self._n_entering += len(texts)
        for future, text in zip(futures, texts, strict=True):
            asked = _Asked(
                text=text,
                all_levels=all_levels,
                tenant=tenant,
                caller=caller,
                arrived_s=arrived_s,
                deadline_s=arrived_s + timeout_s,
                is_alone=len(texts) == 1,
            )
            try:
                pool = self._tokenizing_long if _is_long(text) else self._tokenizing
                pool.submit(self._enter, future, asked)
            except RuntimeError:
                # The pool takes nothing after shutdown.
                with self._condition:
                    self._n_entering -= 1
                future.set_exception(Overloaded("the engine is shutting down; ask another"))
        return futures

    def abandon(self, future: Future[Verdict]) -> None:
        """Nobody waits for this answer any more: its work is dropped if no other wants it."""
        future.cancel()
        with self._condition:
            job = self._job_of.pop(future, None)
            if job is None:
                return
            job.waiters.remove(future)
            if not job.waiters and self._backlog.remove(job):
                self._forget(job)

    def close(self, timeout_s: float = math.inf) -> bool:
        """Takes nothing more, answers what is waiting, and ends the thread.

        Args:
            timeout_s: what still waits then is refused as `Overloaded`.

        Returns:
            Whether everything was answered.
        """
        until_s = time.monotonic() + timeout_s
        self._tokenizing.shutdown(wait=True)
        self._tokenizing_long.shutdown(wait=True)
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join(None if math.isinf(timeout_s) else max(0, until_s - time.monotonic()))
        with self._condition:
            left = self._backlog.drain()
        for job in left:
            self._finish(job, Overloaded("the engine shut down before this text's turn"))
        return not left and not self._thread.is_alive()

    def _refusal(
        self,
        texts: Sequence[str],
        all_levels: bool,
        tenant: str | None,
        caller: str,
        timeout_s: float,
    ) -> Overloaded | None:
        """Why a new request would hardly be answered in time, or None."""
        with self._condition:
            refusal = self._too_late(caller, 0, timeout_s)
            if refusal is None or not all(isinstance(text, str) for text in texts):
                return None
            # What is answered already, or will be anyway, costs nothing.
            keys = [_key(text, all_levels, tenant) for text in texts]
            return None if all(k in self._cache or k in self._jobs for k in keys) else refusal

    def _too_late(self, caller: str, n_tokens: int, timeout_s: float) -> Overloaded | None:
        entering = self._n_entering * self._pace.tokens_per_request
        return self._pace.refusal(
            time.monotonic(),
            tokens_ahead=self._backlog.tokens_ahead(caller) + entering,
            n_tokens=n_tokens,
            timeout_s=timeout_s,
        )

    def _enter(self, future: Future[Verdict], asked: _Asked) -> None:
        """Tokenises a text and puts it into the backlog; on the tokenising thread."""
        gate = self._gate
        try:
            if future.cancelled():
                return
            (question,) = gate.ask([asked.text], all_levels=asked.all_levels, tenant=asked.tenant)
            key = _key(asked.text, asked.all_levels, asked.tenant)
        # Whatever it is, the caller must hear of it.
        except Exception as error:
            _resolve(future, error)
            return
        finally:
            with self._condition:
                self._n_entering -= 1
        job = _Job(
            gate=gate,
            question=question,
            key=key,
            deadline_s=asked.deadline_s,
            arrived_s=asked.arrived_s,
            added_s=time.monotonic(),
            waiters=[future],
        )
        try:
            self._join(job, asked)
        except Overloaded as error:
            _resolve(future, error)

    def _join(self, job: _Job, asked: _Asked) -> None:
        """Answers a new job from the cache, or joins it to an equal one, or lets it wait.

        Raises:
            Overloaded: it is too much, or would be too late.
        """
        (future,) = job.waiters
        with self._condition:
            cached = self._cache.get(job.key) if job.gate is self._gate else None
            if cached is not None:
                self._cache.move_to_end(job.key)
                _resolve(future, cached)
                return
            equal = self._jobs.get(job.key)
            # Who would wait longer than the first asker may lose its answer: it gets its own job.
            if equal is not None and equal.gate is job.gate and equal.deadline_s >= job.deadline_s:
                equal.waiters.append(future)
                self._job_of[future] = equal
                return
            left_s = job.deadline_s - job.added_s
            refusal = self._too_late(asked.caller, job.question.n_tokens, left_s)
            # A request of several texts is in already.
            if refusal is not None and asked.is_alone:
                raise refusal
            put_out = self._backlog.add(
                Waiting(
                    item=job,
                    caller=asked.caller,
                    n_tokens=job.question.n_tokens,
                    deadline_s=job.deadline_s,
                )
            )
            self._jobs[job.key] = job
            self._job_of[future] = job
            self._condition.notify()
        for other in put_out:
            self._finish(other, Overloaded("others came, and this caller waits with most"))

    def _work(self) -> None:
        """The engine's thread: until closed and empty, the next batch."""
        while True:
            with self._condition:
                while not self._backlog.n_requests and not self._closing:
                    self._condition.wait()
                if not self._backlog.n_requests:
                    return
                now_s = time.monotonic()
                taken = self._backlog.take(now_s, self._pace.seconds_per_token)
                self._pace.begin(now_s, sum(job.question.n_tokens for job in taken.batch))
            for job in taken.expired:
                waited = time.monotonic() - job.added_s
                self._finish(job, DeadlineExceeded(f"dropped unread after {waited:.3f} s"))
            # One batch may span a swap: each gate answers its own.
            by_gate: dict[int, list[_Job]] = {}
            for job in taken.batch:
                by_gate.setdefault(id(job.gate), []).append(job)
            for jobs in by_gate.values():
                self._run(jobs)
            with self._condition:
                self._pace.end()

    def _run(self, jobs: Sequence[_Job]) -> None:
        started_s = time.monotonic()
        answers: Sequence[Verdict | Exception]
        try:
            answers = jobs[0].gate.answer([job.question for job in jobs])
        # An engine's thread must outlive whatever the engine does.
        except Exception as error:
            # One text's failure is not its neighbours': each is asked once more by itself.
            answers = [error] if len(jobs) == 1 else [_alone(job) for job in jobs]
        for job, answer in zip(jobs, answers, strict=True):
            self._finish(job, answer)
        n_tokens = sum(job.question.n_tokens for job in jobs)
        run_s = time.monotonic() - started_s
        with self._condition:
            self._pace.ran(run_s, n_tokens=n_tokens, n_requests=len(jobs))
        facts = BatchFacts(
            n_requests=len(jobs),
            n_tokens=n_tokens,
            n_waiting=self.n_waiting,
            queue_s=started_s - min(job.added_s for job in jobs),
            run_s=run_s,
            tokenize_s=tuple(job.added_s - job.arrived_s for job in jobs),
        )
        try:
            if self._on_batch is not None:
                self._on_batch(facts)
        # Whoever only watches must not end what is watched.
        except Exception:
            _LOG.exception("on_batch failed")

    def _finish(self, job: _Job, answer: Verdict | Exception) -> None:
        with self._condition:
            self._forget(job)
            if isinstance(answer, Verdict) and self._cache_entries and job.gate is self._gate:
                self._cache[job.key] = answer
                while len(self._cache) > self._cache_entries:
                    self._cache.popitem(last=False)
            waiters = list(job.waiters)
            for future in waiters:
                self._job_of.pop(future, None)
        if isinstance(answer, Exception) and not isinstance(answer, HazgateError):
            # Its words may hold a text's.
            frames = "".join(traceback.format_tb(answer.__traceback__))
            _LOG.error("the engine failed: %s\n%s", type(answer).__name__, frames)
            answer = InferenceError(f"the engine failed: {type(answer).__name__}")
        for future in waiters:
            _resolve(future, answer)

    def _forget(self, job: _Job) -> None:
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]


def _key(text: str, all_levels: bool, tenant: str | None) -> _Key:
    # What is no well-formed text is refused for that, wherever it is found out.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return digest, all_levels, tenant


def _is_long(text: object) -> bool:
    # What is no string is told so by the gate, like any other text.
    return isinstance(text, str) and len(text) > _LONG_CHARACTERS


def _alone(job: _Job) -> Verdict | Exception:
    try:
        return job.gate.answer([job.question])[0]
    except Exception as error:
        return error


def _resolve(future: Future[Verdict], answer: Verdict | Exception) -> None:
    """Gives an answer to a future that its owner may have cancelled meanwhile."""
    try:
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
    except InvalidStateError:
        pass
