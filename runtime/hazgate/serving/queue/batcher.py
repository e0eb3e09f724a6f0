"""The engine's thread: forms batches while the engine is busy, runs them, hands out answers."""

import logging
import math
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from hazgate.engine.logit_store import NO_STORE, LogitStore, StoreFacts, StoreLimits
from hazgate.errors import DeadlineExceeded, HazgateError, InferenceError, Overloaded
from hazgate.gate import Gate
from hazgate.judge import Answer, Judge, gate_of, level_of, verdict_of
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.backlog import Backlog, QueueLimits, Taken
from hazgate.serving.queue.fair_thread import FairThread
from hazgate.serving.queue.pieces import in_pieces
from hazgate.serving.queue.sharing import Key, QueuedText, SharedAnswers, key_of
from hazgate.serving.queue.throughput import Throughput

T = TypeVar("T")

_LOG = logging.getLogger("hazgate.serving")

# Tokenising a longer text takes longer than many a run of the engine.
_LONG_CHARACTERS = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFacts:
    """One batch, for metrics.

    `queue_s` is how long its first request waited; `tokenize_s` has, for each request, the time
    from its arrival to its place in the queue; `n_waiting` requests still wait. `store` has the
    windows that this batch found in the store of logits, and those that it read.
    """

    n_requests: int
    n_tokens: int
    n_waiting: int
    queue_s: float
    run_s: float
    tokenize_s: tuple[float, ...]
    store: StoreFacts = field(default_factory=StoreFacts)


@dataclass(kw_only=True, slots=True, eq=False)
class _LongRun:
    """A batch that runs in pieces: the number of its thread, its texts, and its state.

    It has stood still for `stood_still_s` in all, and does so now if it `makes_way`.
    """

    number: int
    texts: tuple[QueuedText, ...]
    has_begun: bool = False
    stood_still_s: float = 0.0
    makes_way: bool = False


class _OfThread(threading.local):
    """The state of one engine's thread: the long batch that runs on it, if any."""

    long: _LongRun | None = None


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
        self._gate = gate
        self._on_batch = on_batch
        self.limits = limits or QueueLimits()
        self._backlog: Backlog[QueuedText] = Backlog(self.limits)
        self._shared = SharedAnswers(cache_entries)
        self._callers_share = store.shared
        self._store = LogitStore.of(store)
        self._stored = StoreFacts()
        self._closing = False
        self._throughput = Throughput()
        # Texts of each caller that are being tokenised, or wait for it.
        self._n_entering: Counter[str] = Counter()
        # The batch that runs, and when it began; a thread of an older number is given up.
        self._running: tuple[QueuedText, ...] = ()
        self._running_since_s: float | None = None
        self._thread_number = 0
        # A thread that was given up may run beside the new one, with a long batch of its own.
        self._own = _OfThread()
        # Each gate in pieces, by its id.
        self._in_pieces: dict[int, tuple[Judge, Judge]] = {}
        self._condition = threading.Condition()
        self._process = os.getpid()
        # Tokenising is short and prepares the next batch while the engine runs this one. Long
        # texts have a thread of their own, so that they do not delay short ones.
        self._tokenizing = FairThread("hazgate-tokenize")
        self._tokenizing_long = FairThread("hazgate-tokenize-long")
        self._thread = self._start_thread()

    @property
    def judge(self) -> Judge:
        """The gate or the level that answers new requests."""
        return self._gate

    @property
    def gate(self) -> Gate:
        """The gate that answers new requests.

        Raises:
            InputError: a level that gives labels only answers them.
        """
        return gate_of(self._gate)

    @property
    def seconds_per_token(self) -> float:
        """Time of a token, as lately and in the running batch; 0 before the first run."""
        with self._condition:
            return self._throughput.present_seconds_per_token(
                time.monotonic(), batch_tokens=self.limits.max_batch_tokens
            )

    @property
    def alive(self) -> bool:
        """True if the engine's thread can take texts."""
        return self._thread.is_alive()

    @property
    def run_age_s(self) -> float:
        """Seconds since the running batch began; 0 if none runs."""
        since_s = self._running_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def n_waiting(self) -> int:
        """Requests that wait and do not run yet."""
        return self._backlog.n_requests

    @property
    def n_tokens(self) -> int:
        """Tokens of the requests that wait or run: the engine's outstanding work."""
        return self._backlog.n_tokens + self._throughput.n_running_tokens

    @property
    def store(self) -> LogitStore | None:
        """The store of logits, or None if it is turned off."""
        return self._store

    def swap(self, gate: Judge) -> None:
        """Answer new requests with another gate; the old gate answers what was asked before."""
        with self._condition:
            if self._store is not None and gate.model != self._gate.model:
                # Their keys name the old bundle: they would never be found.
                self._store.clear()
            self._gate = gate
            self._shared.clear_cache()

    def apply(self, limits: QueueLimits) -> None:
        """Take other limits, for what comes from now on."""
        with self._condition:
            self.limits = self._backlog.limits = limits
            self._in_pieces = {}

    def rebuild(self, gate: Judge) -> None:
        """Give up a run that does not end, and answer by another gate on a thread of its own.

        Texts that run or wait get an `InferenceError`: none of them was read. The given-up thread
        ends when its run does; its answers go nowhere.
        """
        with self._condition:
            lost = [*self._running, *self._backlog.drain()]
            self._gate = gate
            self._shared.clear_cache()
            if self._store is not None:
                self._store.clear()
            self._running, self._running_since_s = (), None
            self._throughput.end()
            self._thread_number += 1
            # A thread of an older number that waits must not take the new one's wake-up.
            self._condition.notify_all()
            self._thread = self._start_thread()
        for text in lost:
            self._finish(text, InferenceError("the engine did not answer and was opened again"))

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

    def enter(self, ask: Ask, i: int) -> Future[Answer]:
        """Queue a text of a request that `refusal` lets in, by index; errors as of `submit`."""
        self._check_process()
        future: Future[Answer] = Future()
        with self._condition:
            self._n_entering[ask.caller] += 1
        self._tokenize(future, ask, i)
        return future

    def in_turn(self, caller: str, n_characters: int, work: Callable[[], T]) -> Future[T]:
        """Let a thread that tokenises do other work on texts, in their caller's turn.

        Args:
            caller: whose turn it takes.
            n_characters: of the texts.
            work: called unless the future was cancelled before.

        Returns:
            A future of what `work` returns or raises.

        Raises:
            Overloaded: the engine is shutting down.
            InferenceError: as of `refusal`.
        """
        self._check_process()
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            # A tokenizer's panic is no Exception.
            except BaseException as error:
                future.set_exception(error)

        try:
            self._tokenizing_long.submit(caller, 1 + n_characters, run)
        except RuntimeError:
            raise Overloaded("the engine is shutting down; ask another") from None
        return future

    def _check_process(self) -> None:
        """Refuse to wait for threads that a forked process does not have.

        Raises:
            InferenceError: as of `refusal`.
        """
        if self._process != os.getpid():
            raise InferenceError(
                f"this queue was made in process {self._process}, before a fork, and its threads "
                f"stayed there: make a Batcher or AsyncGate in each worker. The gate itself may be "
                "opened before the fork"
            )

    def abandon(self, future: Future[Any]) -> None:
        """Stop waiting for an answer; its work is dropped if nobody else wants it."""
        future.cancel()
        with self._condition:
            unwanted = self._shared.leave(future)
            if unwanted is not None and self._backlog.remove(unwanted):
                self._shared.forget(unwanted)

    def close(self, timeout_s: float = math.inf) -> bool:
        """Take nothing more, answer what is waiting, and end the thread.

        Args:
            timeout_s: texts that still wait after this time are refused as `Overloaded`.

        Returns:
            Whether everything was answered.
        """
        if self._process != os.getpid():
            # The threads and the texts are those of another process.
            return True
        until_s = time.monotonic() + timeout_s
        self._tokenizing.close()
        self._tokenizing_long.close()
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join(None if math.isinf(timeout_s) else max(0, until_s - time.monotonic()))
        with self._condition:
            left = self._backlog.drain()
        for text in left:
            self._finish(text, Overloaded("the engine shut down before this text's turn"))
        return not left and not self._thread.is_alive()

    def refusal(self, ask: Ask) -> Overloaded | None:
        """Return why a new request would hardly be answered in time, or None.

        Raises:
            InferenceError: this process was forked from the one with the engine's threads.
        """
        self._check_process()
        with self._condition:
            refusal = self._too_late(ask.caller, 0, ask.timeout_s)
            if refusal is None or not all(isinstance(text, str) for text in ask.texts):
                return None
            # An answer that is there or on its way costs nothing.
            known = all(self._key_of(ask, i) in self._shared for i in range(len(ask.texts)))
            return None if known else refusal

    def _key_of(self, ask: Ask, i: int) -> Key:
        return key_of(ask, i, shared=self._callers_share)

    def _too_late(self, caller: str, n_tokens: int, timeout_s: float) -> Overloaded | None:
        # One whose tokens are not known yet is judged again when they are.
        most_tokens = self.limits.max_batch_tokens
        is_short = n_tokens <= most_tokens
        # As in the queue, others go first with as many as this caller has there, plus one.
        most = self._n_entering[caller] + 1
        n_entering = sum(min(n, most) for n in self._n_entering.values())
        piece_tokens = most_tokens if is_short else math.inf
        entering = n_entering * min(self._throughput.tokens_per_request, piece_tokens)
        return self._throughput.refusal(
            time.monotonic(),
            tokens_ahead=self._backlog.tokens_ahead(caller, is_short=is_short) + entering,
            n_tokens=n_tokens,
            timeout_s=timeout_s,
            piece_tokens=piece_tokens,
        )

    def _tokenize(self, future: Future[Answer], ask: Ask, i: int) -> None:
        """Let a thread tokenise a text."""
        # The gate refuses what is no string, like any other text that cannot be read.
        text = ask.texts[i]
        n_characters = len(str(text))
        thread = self._tokenizing_long if n_characters > _LONG_CHARACTERS else self._tokenizing
        try:
            thread.submit(ask.caller, 1 + n_characters, partial(self._enter, future, ask, i))
        except RuntimeError:
            # The thread takes nothing after `close`.
            self._entered(ask)
            future.set_exception(Overloaded("the engine is shutting down; ask another"))

    def _enter(self, future: Future[Answer], ask: Ask, i: int) -> None:
        """Tokenise a text and put it into the backlog; on a tokenising thread."""
        gate = self._gate
        try:
            if future.cancelled():
                return
            (question,) = gate.ask(
                [ask.texts[i]],
                all_levels=ask.all_levels,
                levels=ask.levels,
                tenant=ask.tenant,
                roles=[ask.role(i)],
                side=ask.side,
                caller=ask.caller,
                tokens=[ask.tokens_of(i)],
                store=self._store,
            )
            key = self._key_of(ask, i)
            known = level_of(gate).known(self._store)
            n_tokens = question.n_tokens if known is None else known.n_tokens_to_read(question)
        # The caller must hear of any error; a tokenizer's panic is no Exception.
        except BaseException as error:
            _resolve(future, _presentable(error))
            return
        finally:
            self._entered(ask)
        queued = QueuedText(
            gate=gate,
            question=question,
            key=key,
            ask=ask,
            n_tokens=n_tokens,
            added_s=time.monotonic(),
            waiters=[future],
        )
        try:
            self._join(queued)
        except Overloaded as error:
            _resolve(future, error)

    def _entered(self, ask: Ask) -> None:
        """Count one text less among those that are being tokenised."""
        with self._condition:
            self._n_entering[ask.caller] -= 1
            if not self._n_entering[ask.caller]:
                del self._n_entering[ask.caller]

    def _join(self, text: QueuedText) -> None:
        """Answer a new text from the cache, join it to an equal one, or queue it.

        Raises:
            Overloaded: the queue is full, or the answer would be too late.
        """
        with self._condition:
            cached = self._shared.cached(text.key) if text.gate is self._gate else None
            if cached is not None:
                for future in text.waiters:
                    _resolve(future, cached)
                return
            if self._shared.join(text):
                return
            # A request of several texts has been let in as a whole.
            if len(text.ask.texts) == 1:
                left_s = text.deadline_s - text.added_s
                refusal = self._too_late(text.caller, text.n_tokens, left_s)
                if refusal is not None:
                    raise refusal
            evicted = self._backlog.add(text)
            self._shared.add(text)
            self._condition.notify()
        for other in evicted:
            self._finish(other, Overloaded("others came, and this caller waits with most"))

    def _start_thread(self) -> threading.Thread:
        thread = threading.Thread(
            target=self._work, args=(self._thread_number,), name="hazgate-engine", daemon=True
        )
        thread.start()
        return thread

    def _work(self, number: int) -> None:
        """Run batch after batch until the batcher is closed and empty; the engine's thread."""
        while True:
            with self._condition:
                while number == self._thread_number and not self._backlog.n_requests:
                    if self._closing:
                        return
                    self._backlog.rest()
                    self._condition.wait()
                if number != self._thread_number:
                    return
                now_s = time.monotonic()
                taken = self._backlog.take(now_s, self._throughput.seconds_per_token)
                self._throughput.begin(now_s, sum(text.n_tokens for text in taken.batch))
                self._running, self._running_since_s = taken.batch, now_s
            if sum(text.n_tokens for text in taken.batch) > self.limits.max_batch_tokens:
                self._own.long = _LongRun(number=number, texts=taken.batch)
            self._run_taken(taken)
            self._own.long = None
            with self._condition:
                if number == self._thread_number:
                    self._throughput.end()
                    self._running, self._running_since_s = (), None

    def _run_taken(self, taken: Taken[QueuedText]) -> None:
        for text in taken.expired:
            waited = time.monotonic() - text.added_s
            self._finish(text, DeadlineExceeded(f"dropped unread after {waited:.3f} s"))
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
        if not long.has_begun:
            # It has just been taken, and every other batch was before it.
            long.has_begun = True
            return
        began_s = time.monotonic()
        with self._condition:
            if long.number != self._thread_number:
                raise InferenceError("the engine was opened again while this text ran")
            if all(not text.waiters or text.deadline_s <= began_s for text in long.texts):
                raise DeadlineExceeded("dropped half read: nobody waits for its verdict")
            taken = self._backlog.take_short(began_s, self._throughput.seconds_per_token)
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
            with self._condition:
                if long.number == self._thread_number:
                    self._throughput.made_way(stood_still_s)
                    self._running = long.texts

    def _piecewise(self, gate: Judge) -> Judge:
        """Return a gate that calls `_make_way` before each of its runs."""
        kept = self._in_pieces.get(id(gate))
        if kept is None or kept[0] is not gate:
            if len(self._in_pieces) > 1:
                # Gates that were swapped out; each stays alive, so that its id is its own.
                self._in_pieces.clear()
            kept = (gate, in_pieces(gate, self.limits.max_batch_tokens, self._make_way))
            self._in_pieces[id(gate)] = kept
        return kept[1]

    def _run(self, texts: Sequence[QueuedText]) -> None:
        started_s = time.monotonic()
        gate = self._piecewise(texts[0].gate)
        long = self._own.long
        before_s = 0.0 if long is None else long.stood_still_s
        answers: Sequence[Answer | BaseException]
        try:
            answers = gate.answer([text.question for text in texts], store=self._store)
        # The engine's thread must outlive any failure of the engine, panics included.
        except BaseException as error:
            # One text's failure must not fail its neighbours: run each once more alone.
            answers = (
                [error]
                if len(texts) == 1
                else [_answer_alone(gate, text, self._store) for text in texts]
            )
        for text, answer in zip(texts, answers, strict=True):
            self._finish(text, answer)
        n_tokens = sum(text.n_tokens for text in texts)
        stood_still_s = 0.0 if long is None else long.stood_still_s - before_s
        run_s = time.monotonic() - started_s - stood_still_s
        with self._condition:
            stored = self._store_facts()
            # What came from the store says nothing about the engine's pace.
            if self._store is None or stored.misses or not stored.hits:
                self._throughput.ran(run_s, n_tokens=n_tokens, n_requests=len(texts))
        facts = BatchFacts(
            n_requests=len(texts),
            n_tokens=n_tokens,
            n_waiting=self.n_waiting,
            queue_s=started_s - min(text.added_s for text in texts),
            run_s=run_s,
            tokenize_s=tuple(text.added_s - text.ask.arrived_s for text in texts),
            store=stored,
        )
        try:
            if self._on_batch is not None:
                self._on_batch(facts)
        # An observer's failure must not end the engine.
        except Exception:
            _LOG.exception("on_batch failed")

    def _store_facts(self) -> StoreFacts:
        """Return what the store did since this was last asked."""
        before, now = self._stored, StoreFacts() if self._store is None else self._store.facts
        self._stored = now
        return now.since(before)

    def _finish(self, text: QueuedText, answer: Answer | BaseException) -> None:
        with self._condition:
            waiters = self._shared.forget(text)
            if not isinstance(answer, BaseException) and text.gate is self._gate:
                self._shared.keep(text.key, answer)
        shown = _presentable(answer) if isinstance(answer, BaseException) else answer
        for future in waiters:
            _resolve(future, shown)


def no_answer_in_time(ask: Ask) -> DeadlineExceeded:
    """Return the error of a caller whose deadline passed while it waited."""
    return DeadlineExceeded(f"no answer within {ask.timeout_s:g} s")


def _answer_alone(
    gate: Judge, text: QueuedText, store: LogitStore | None
) -> Answer | BaseException:
    try:
        return gate.answer([text.question], store=store)[0]
    except BaseException as error:
        return error


def _presentable(error: BaseException) -> HazgateError:
    """Return an error that may be shown; another one is logged without its message."""
    if isinstance(error, HazgateError):
        return error
    # Its message may quote a text.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("the engine failed: %s\n%s", type(error).__name__, frames)
    return InferenceError(f"the engine failed: {type(error).__name__}")


def _resolve(future: Future[Answer], answer: Answer | HazgateError) -> None:
    """Give an answer to a future that its owner may have cancelled meanwhile."""
    try:
        if isinstance(answer, HazgateError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
    except InvalidStateError:
        pass
