"""A gate for many threads: texts enter, run together, and their answers are handed out."""

import math
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from hazgate.engine.logit_store import NO_STORE, LogitStore, StoreLimits
from hazgate.errors import DeadlineExceeded, HazgateError, Overloaded
from hazgate.gate import Gate
from hazgate.judge import Answer, Judge, gate_of, verdict_of
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.serving.queue.engine_thread import BatchFacts, EngineThread
from hazgate.serving.queue.entrance import Entrance
from hazgate.serving.queue.state import QueueState

T = TypeVar("T")


class Batcher:
    """A gate for many threads: one engine thread, a bounded fair queue. Thread-safe.

    While the engine runs, new requests wait and then run together, up to a budget of tokens. An
    idle engine runs a request at once: nothing waits for company. A text of more tokens than the
    budget runs in pieces: between two of them a batch of short texts runs, and what nobody waits
    for any more ends.

    Equal texts that wait or run share one answer and cost nothing; with `cache_entries` the last
    verdicts are kept, too, until the gate is swapped. With a store, no window is read twice. Each
    caller shares with itself only, unless `store` says otherwise.

    Overload costs next to nothing: a request that would hardly be answered in time is refused
    before any work is done for it.
    """

    def __init__(
        self,
        gate: Judge,
        *,
        limits: QueueLimits | None = None,
        cache_entries: int = 0,
        store: StoreLimits = NO_STORE,
        on_batch: Callable[[BatchFacts], None] | None = None,
    ) -> None:
        """Start the engine's thread.

        Args:
            gate: answers; `swap` replaces it.
            limits: of the queue and of a batch.
            cache_entries: number of verdicts kept by the SHA-256 of their text; 0 for none.
            store: limits of the store of logits.
            on_batch: called after every run, on the engine's thread.
        """
        self._queue = QueueState(gate, limits or QueueLimits(), cache_entries, store)
        self._entrance = Entrance(self._queue)
        self._engine = EngineThread(self._queue, on_batch)

    @property
    def judge(self) -> Judge:
        """The gate or the level that answers new requests."""
        return self._queue.gate

    @property
    def gate(self) -> Gate:
        """The gate that answers new requests.

        Raises:
            InputError: a level that gives labels only answers them.
        """
        return gate_of(self._queue.gate)

    @property
    def limits(self) -> QueueLimits:
        """The limits of the queue and of a batch."""
        return self._queue.limits

    @property
    def seconds_per_token(self) -> float:
        """Time of a token, as lately and in the running batch; 0 before the first run."""
        with self._queue.condition:
            return self._queue.throughput.present_seconds_per_token(
                time.monotonic(), batch_tokens=self._queue.limits.max_batch_tokens
            )

    @property
    def alive(self) -> bool:
        """True if the engine's thread can take texts."""
        return self._engine.alive

    @property
    def run_age_s(self) -> float:
        """Seconds since the running batch began; 0 if none runs."""
        return self._engine.run_age_s

    @property
    def n_waiting(self) -> int:
        """Requests that wait and do not run yet."""
        return self._queue.backlog.n_requests

    @property
    def n_tokens(self) -> int:
        """Tokens of the requests that wait or run: the engine's outstanding work."""
        return self._queue.backlog.n_tokens + self._queue.throughput.n_running_tokens

    @property
    def store(self) -> LogitStore | None:
        """The store of logits, or None if it is turned off."""
        return self._queue.store

    def swap(self, gate: Judge) -> None:
        """Answer new requests with another gate; the old gate answers what was asked before."""
        self._queue.swap(gate)

    def apply(self, limits: QueueLimits) -> None:
        """Take other limits, for what comes from now on."""
        with self._queue.condition:
            self._queue.limits = limits
            self._queue.backlog.apply(limits)

    def rebuild(self, gate: Judge) -> None:
        """Give up a run that does not end, and answer by another gate on a thread of its own.

        Texts that run or wait get an `InferenceError`: none of them was read. The given-up thread
        ends when its run does; its answers go nowhere.
        """
        self._engine.rebuild(gate)

    def check(
        self,
        text: str,
        *,
        all_levels: bool = False,
        levels: Collection[str] = (),
        tenant: str | None = None,
        caller: str = "",
        timeout_s: float = math.inf,
    ) -> Verdict:
        """Return the verdict on one text; block until there is one. Arguments as of `Ask`.

        Raises:
            InputError: the text cannot be read.
            Overloaded: too much is waiting already.
            DeadlineExceeded: there was no answer in time.
            InferenceError: the model failed.
        """
        ask = Ask(
            texts=[text],
            all_levels=all_levels,
            levels=tuple(levels),
            tenant=tenant,
            caller=caller,
            timeout_s=timeout_s,
        )
        (future,) = self.submit(ask)
        return verdict_of(self.wait(future, ask))

    def wait(self, future: Future[Answer], ask: Ask) -> Answer:
        """Return the answer of a text that `submit` queued; block until there is one.

        Raises:
            concurrent.futures.CancelledError: another thread abandoned it.
            HazgateError: as of `check`.
        """
        try:
            return future.result(ask.left_s)
        # A deadline that the engine noticed is a TimeoutError too, and has its own message.
        except HazgateError:
            raise
        except FutureTimeoutError:
            self.abandon(future)
            raise no_answer_in_time(ask) from None

    def submit(self, ask: Ask) -> list[Future[Answer]]:
        """Queue the texts of one request and return at once; other threads tokenise them.

        The work before the first text decides whether the request is refused: all of its texts
        are, or none is. Texts of one request do not count as being in each other's way.

        Returns:
            A future for each text, of the verdict or of an error as of `check`. `abandon` takes
            it back.
        """
        refusal = self.refusal(ask)
        if refusal is None:
            return [self.enter(ask, i) for i in range(len(ask.texts))]
        futures: list[Future[Answer]] = [Future() for _ in ask.texts]
        for future in futures:
            future.set_exception(refusal)
        return futures

    def refusal(self, ask: Ask) -> Overloaded | None:
        """Return why a new request would hardly be answered in time, or None.

        Raises:
            InferenceError: this process was forked from the one with the engine's threads.
        """
        return self._entrance.refusal(ask)

    def enter(self, ask: Ask, i: int) -> Future[Answer]:
        """Queue a text of a request that `refusal` lets in, by index; errors as of `submit`."""
        return self._entrance.enter(ask, i)

    def in_turn(self, caller: str, n_characters: int, work: Callable[[], T]) -> Future[T]:
        """Let a thread that tokenises do other work on texts; see `Entrance.in_turn`."""
        return self._entrance.in_turn(caller, n_characters, work)

    def abandon(self, future: Future[Any]) -> None:
        """Stop waiting for an answer; its work is dropped if nobody else wants it."""
        self._queue.abandon(future)

    def close(self, timeout_s: float = math.inf) -> bool:
        """Take nothing more, answer what is waiting, and end the thread.

        Args:
            timeout_s: texts that still wait after this time are refused as `Overloaded`.

        Returns:
            Whether everything was answered.
        """
        if self._queue.is_forked:
            # The threads and the texts are those of another process.
            return True
        until_s = time.monotonic() + timeout_s
        self._entrance.close()
        with self._queue.condition:
            self._queue.closing = True
            self._queue.condition.notify_all()
        self._engine.join(None if math.isinf(timeout_s) else max(0, until_s - time.monotonic()))
        with self._queue.condition:
            left = self._queue.backlog.drain()
        for text in left:
            self._queue.finish(text, Overloaded("the engine shut down before this text's turn"))
        return not left and not self._engine.alive


def no_answer_in_time(ask: Ask) -> DeadlineExceeded:
    """Return the error of a caller whose deadline passed while it waited."""
    return DeadlineExceeded(f"no answer within {ask.timeout_s:g} s")
