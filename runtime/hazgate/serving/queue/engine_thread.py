"""The engine's thread: takes batches from the queue while there are any, and runs them."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hazgate.engine.exit_audit import ExitFacts
from hazgate.engine.logit_store import LogitStore, StoreFacts
from hazgate.errors import DeadlineExceeded, InferenceError
from hazgate.judge import Answer, Judge, level_of
from hazgate.judging.missed import MissedCounts
from hazgate.serving.queue.backlog import Taken
from hazgate.serving.queue.pieces import in_pieces
from hazgate.serving.queue.sharing import QueuedText
from hazgate.serving.queue.state import QueueState

_LOG = logging.getLogger("hazgate.serving")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFacts:
    """One batch, for metrics.

    `queue_s` is how long its first request waited; `tokenize_s` has, for each request, the time
    from its arrival to its place in the queue; `n_waiting` requests still wait. `store` has the
    windows that this batch found in the store of logits, and those that it read. With early exits,
    `audited` has the windows of this batch that were read whole to see, and `exits` the state.
    """

    n_requests: int
    n_tokens: int
    n_waiting: int
    queue_s: float
    run_s: float
    tokenize_s: tuple[float, ...]
    store: StoreFacts = field(default_factory=StoreFacts)
    audited: MissedCounts = field(default_factory=MissedCounts)
    exits: ExitFacts | None = None


@dataclass(kw_only=True, slots=True, eq=False)
class _LongRun:
    """A batch that runs in pieces: the number of its thread, its texts, and its state.

    It has run `n_pieces`, has stood still for `stood_still_s` in all, and does so now if it
    `makes_way`.
    """

    number: int
    texts: tuple[QueuedText, ...]
    n_pieces: int = -1
    stood_still_s: float = 0.0
    makes_way: bool = False


class _OfThread(threading.local):
    """The state of one engine's thread: the long batch that runs on it, if any, and its pieces."""

    long: _LongRun | None = None
    piece_tokens: int = 0


class EngineThread:
    """The thread that runs the gate, and the one that takes over when a run does not end."""

    def __init__(
        self, queue: QueueState, on_batch: Callable[[BatchFacts], None] | None = None
    ) -> None:
        """Start the thread; arguments as of `Batcher`."""
        self._queue = queue
        self._on_batch = on_batch
        self._stored = StoreFacts()
        # The batch that runs, and when it began; a thread of an older number is given up. They
        # change under the queue's lock.
        self._running: tuple[QueuedText, ...] = ()
        self._running_since_s: float | None = None
        self._number = 0
        # A thread that was given up may run beside the new one, with a long batch of its own.
        self._own = _OfThread()
        self._thread = self._start()

    @property
    def alive(self) -> bool:
        """True if the engine's thread can take texts."""
        return self._thread.is_alive()

    @property
    def run_age_s(self) -> float:
        """Seconds since the running batch began; 0 if none runs."""
        since_s = self._running_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def rebuild(self, gate: Judge) -> None:
        """Give up the thread and start another; see `Batcher.rebuild`."""
        with self._queue.condition:
            lost = [*self._running, *self._queue.backlog.drain()]
            self._queue.gate = gate
            self._queue.answers.clear_cache()
            if self._queue.store is not None:
                self._queue.store.clear()
            self._running, self._running_since_s = (), None
            self._queue.throughput.end()
            self._number += 1
            # A thread of an older number that waits must not take the new one's wake-up.
            self._queue.condition.notify_all()
            self._thread = self._start()
        reason = "the engine did not answer and was opened again"
        for text in lost:
            self._queue.finish(text, InferenceError(reason))

    def join(self, timeout_s: float | None) -> None:
        """Wait for the thread's end, for at most `timeout_s`; None waits for good."""
        self._thread.join(timeout_s)

    def _start(self) -> threading.Thread:
        thread = threading.Thread(
            target=self._work, args=(self._number,), name="hazgate-engine", daemon=True
        )
        thread.start()
        return thread

    def _work(self, number: int) -> None:
        """Run batch after batch until the queue is closed and empty; on the thread itself."""
        while True:
            with self._queue.condition:
                while number == self._number and not self._queue.backlog.n_requests:
                    if self._queue.closing:
                        return
                    self._queue.backlog.rest()
                    self._queue.condition.wait()
                if number != self._number:
                    return
                now_s = time.monotonic()
                pace = self._queue.throughput.seconds_per_token
                taken = self._queue.backlog.take(now_s, pace)
                self._own.piece_tokens = self._queue.limits.batch_tokens(pace)
                self._queue.throughput.begin(now_s, sum(text.n_tokens for text in taken.batch))
                self._running, self._running_since_s = taken.batch, now_s
            if sum(text.n_tokens for text in taken.batch) > self._own.piece_tokens:
                self._own.long = _LongRun(number=number, texts=taken.batch)
            self._run_taken(taken)
            self._own.long = None
            with self._queue.condition:
                if number == self._number:
                    self._queue.throughput.end()
                    self._running, self._running_since_s = (), None

    def _run_taken(self, taken: Taken[QueuedText]) -> None:
        for text in taken.expired:
            waited = time.monotonic() - text.added_s
            self._queue.finish(text, DeadlineExceeded(f"dropped unread after {waited:.3f} s"))
        # One batch may span a swap: each gate answers its own questions.
        by_gate: dict[int, list[QueuedText]] = {}
        for text in taken.batch:
            by_gate.setdefault(id(text.gate), []).append(text)
        for texts in by_gate.values():
            self._run(texts)

    def _make_way(self) -> None:
        """Run a batch of short texts between two pieces of a long one; on the engine's thread.

        Raises:
            DeadlineExceeded: nobody waits for the long one any more, so that its rest is not run.
        """
        long = self._own.long
        if long is None or long.makes_way:
            return
        long.n_pieces += 1
        if not long.n_pieces:
            # It has just been taken, and every other batch was before it.
            return
        began_s = time.monotonic()
        with self._queue.condition:
            if long.number != self._number:
                raise InferenceError("the engine was opened again while this text ran")
            if all(not text.waiters or text.deadline_s <= began_s for text in long.texts):
                raise DeadlineExceeded("dropped half read: nobody waits for its verdict")
            taken = self._queue.backlog.take_short(
                began_s, self._queue.throughput.seconds_per_token
            )
            self._running = (*long.texts, *taken.batch)
        if not taken.batch and not taken.expired:
            return
        long.makes_way = True
        try:
            self._run_taken(taken)
        finally:
            long.makes_way = False
            stood_still_s = time.monotonic() - began_s
            long.stood_still_s += stood_still_s
            with self._queue.condition:
                if long.number == self._number:
                    self._queue.throughput.made_way(stood_still_s)
                    self._running = long.texts

    def _run(self, texts: Sequence[QueuedText]) -> None:
        started_s = time.monotonic()
        gate = in_pieces(texts[0].gate, self._own.piece_tokens, self._make_way)
        long = self._own.long
        before_s = 0.0 if long is None else long.stood_still_s
        answers: Sequence[Answer | BaseException]
        try:
            answers = gate.answer([text.question for text in texts], store=self._queue.store)
        # The engine's thread must outlive any failure of the engine, panics included.
        except BaseException as error:
            # One text's failure must not fail its neighbours: run each once more alone.
            answers = (
                [error]
                if len(texts) == 1
                else [_answer_alone(gate, text, self._queue.store) for text in texts]
            )
        for text, answer in zip(texts, answers, strict=True):
            self._queue.finish(text, answer)
        n_tokens = sum(text.n_tokens for text in texts)
        is_dropped = isinstance(answers[0], DeadlineExceeded)
        if long is not None and not long.makes_way and is_dropped:
            # What was dropped half read says how fast its half was.
            n_tokens = min(n_tokens, long.n_pieces * self._own.piece_tokens)
        stood_still_s = 0.0 if long is None else long.stood_still_s - before_s
        run_s = time.monotonic() - started_s - stood_still_s
        with self._queue.condition:
            stored = self._store_facts()
            # What came from the store says nothing about the engine's pace.
            if self._queue.store is None or stored.misses or not stored.hits:
                self._queue.throughput.ran(run_s, n_tokens=n_tokens, n_requests=len(texts))
        exits = level_of(gate).exits
        facts = BatchFacts(
            n_requests=len(texts),
            n_tokens=n_tokens,
            n_waiting=self._queue.backlog.n_requests,
            queue_s=started_s - min(text.added_s for text in texts),
            run_s=run_s,
            tokenize_s=tuple(text.added_s - text.ask.arrived_s for text in texts),
            store=stored,
            audited=MissedCounts() if exits is None else exits.take_counts(),
            exits=None if exits is None else exits.facts,
        )
        try:
            if self._on_batch is not None:
                self._on_batch(facts)
        # An observer's failure must not end the engine.
        except Exception:
            _LOG.exception("on_batch failed")

    def _store_facts(self) -> StoreFacts:
        """Return what the store did since this was last asked."""
        store = self._queue.store
        before, now = self._stored, StoreFacts() if store is None else store.facts
        self._stored = now
        return now.since(before)


def _answer_alone(
    gate: Judge, text: QueuedText, store: LogitStore | None
) -> Answer | BaseException:
    try:
        return gate.answer([text.question], store=store)[0]
    except BaseException as error:
        return error
