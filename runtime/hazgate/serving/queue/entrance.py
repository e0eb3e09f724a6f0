"""The way into the queue: texts are refused, or tokenised and put into the backlog."""

import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from hazgate.errors import Overloaded
from hazgate.judge import Answer, level_of
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.fair_thread import FairThread
from hazgate.serving.queue.sharing import Key, QueuedText, key_of
from hazgate.serving.queue.state import QueueState, presentable, resolve

T = TypeVar("T")

# Tokenising a longer text takes a millisecond and more, which a short text need not wait for.
_LONG_CHARACTERS = 4_096


class Entrance:
    """The threads that tokenise, and the decision on what enters. Thread-safe."""

    def __init__(self, queue: QueueState) -> None:
        """Start the threads that tokenise."""
        self._queue = queue
        # Texts of each caller that are being tokenised, or wait for it; under the queue's lock.
        self._n_entering: Counter[str] = Counter()
        # Tokenising is short and prepares the next batch while the engine runs this one. Long
        # texts have a thread of their own, so that they do not delay short ones.
        self._tokenizing = FairThread("hazgate-tokenize")
        self._tokenizing_long = FairThread("hazgate-tokenize-long")

    def refusal(self, ask: Ask) -> Overloaded | None:
        """Return why a new request would hardly be answered in time, or None.

        Raises:
            InferenceError: this process was forked from the one with the engine's threads.
        """
        self._queue.check_process()
        with self._queue.condition:
            refusal = self._too_late(ask.caller, 0, ask.timeout_s)
            if refusal is None or not all(isinstance(text, str) for text in ask.texts):
                return None
            # An answer that is there or on its way costs nothing.
            known = all(self._key_of(ask, i) in self._queue.answers for i in range(len(ask.texts)))
            return None if known else refusal

    def enter(self, ask: Ask, i: int) -> Future[Answer]:
        """Queue a text of a request that `refusal` lets in, by index."""
        self._queue.check_process()
        future: Future[Answer] = Future()
        with self._queue.condition:
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
        self._queue.check_process()
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

    def close(self) -> None:
        """Take nothing more; tokenise what has been let in, and end the threads."""
        self._tokenizing.close()
        self._tokenizing_long.close()

    def _key_of(self, ask: Ask, i: int) -> Key:
        may_leave = not ask.whole and level_of(self._queue.gate).lets_leave
        return key_of(ask, i, shared=self._queue.callers_share, may_leave=may_leave)

    def _too_late(self, caller: str, n_tokens: int, timeout_s: float) -> Overloaded | None:
        # One whose tokens are not known yet is judged again when they are.
        most_tokens = self._queue.limits.max_batch_tokens
        is_short = n_tokens <= most_tokens
        # As in the queue, others go first with as many as this caller has there, plus one.
        most = self._n_entering[caller] + 1
        n_entering = sum(min(n, most) for n in self._n_entering.values())
        piece_tokens = most_tokens if is_short else math.inf
        entering = n_entering * min(self._queue.throughput.tokens_per_request, piece_tokens)
        return self._queue.throughput.refusal(
            time.monotonic(),
            tokens_ahead=self._queue.backlog.tokens_ahead(caller, is_short=is_short) + entering,
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
        gate = self._queue.gate
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
                store=self._queue.store,
                whole=ask.whole,
            )
            key = self._key_of(ask, i)
            known = level_of(gate).known(self._queue.store)
            n_tokens = question.n_tokens if known is None else known.n_tokens_to_read(question)
        # The caller must hear of any error; a tokenizer's panic is no Exception.
        except BaseException as error:
            resolve(future, presentable(error))
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
            resolve(future, error)

    def _entered(self, ask: Ask) -> None:
        """Count one text less among those that are being tokenised."""
        with self._queue.condition:
            self._n_entering[ask.caller] -= 1
            if not self._n_entering[ask.caller]:
                del self._n_entering[ask.caller]

    def _join(self, text: QueuedText) -> None:
        """Answer a new text from the cache, join it to an equal one, or queue it.

        Raises:
            Overloaded: the queue is full, or the answer would be too late.
        """
        with self._queue.condition:
            if all(future.cancelled() for future in text.waiters):
                # Whoever asked left while the text was tokenised.
                return
            cached = self._queue.answers.cached(text.key) if text.gate is self._queue.gate else None
            if cached is not None:
                for future in text.waiters:
                    resolve(future, cached)
                return
            if self._queue.answers.join(text):
                return
            # A request of several texts has been let in as a whole.
            if len(text.ask.texts) == 1:
                left_s = text.deadline_s - text.added_s
                refusal = self._too_late(text.caller, text.n_tokens, left_s)
                if refusal is not None:
                    raise refusal
            evicted = self._queue.backlog.add(text)
            self._queue.answers.add(text)
            self._queue.condition.notify()
        for other in evicted:
            self._queue.finish(other, Overloaded("others came, and this caller waits with most"))
