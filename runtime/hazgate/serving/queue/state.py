"""The state that the threads of the queue share: one gate, one backlog, one lock."""

import logging
import os
import threading
import traceback
from concurrent.futures import Future, InvalidStateError
from typing import Any

from hazgate.engine.logit_store import LogitStore, StoreLimits
from hazgate.errors import HazgateError, InferenceError
from hazgate.judge import Answer, Judge
from hazgate.serving.queue.backlog import Backlog, QueueLimits
from hazgate.serving.queue.sharing import QueuedText, SharedAnswers
from hazgate.serving.queue.throughput import Throughput

_LOG = logging.getLogger("hazgate.serving")


class QueueState:
    """The state that entering and running share, and the one lock that guards it.

    Hold `condition` to change anything here; the methods acquire it themselves.

    Attributes:
        condition: the lock; it wakes the engine's thread.
        gate: answers new requests.
        limits: of the queue and of a batch.
        backlog: the texts that wait.
        answers: verdicts kept, and who waits for which text.
        throughput: the engine's pace.
        store: keeps logits, or None; has a lock of its own.
        callers_share: callers share answers.
        closing: nothing is taken any more.
    """

    def __init__(
        self, gate: Judge, limits: QueueLimits, cache_entries: int, store: StoreLimits
    ) -> None:
        """Start with an empty queue; arguments as of `Batcher`."""
        self.condition = threading.Condition()
        self.gate = gate
        self.limits = limits
        self.backlog: Backlog[QueuedText] = Backlog(limits)
        self.answers = SharedAnswers(cache_entries)
        self.throughput = Throughput()
        self.store = LogitStore.of(store)
        self.callers_share = store.shared
        self.closing = False
        self._process = os.getpid()

    @property
    def is_forked(self) -> bool:
        """True in a forked process, which does not have the threads."""
        return self._process != os.getpid()

    def check_process(self) -> None:
        """Refuse to wait for threads that a forked process does not have.

        Raises:
            InferenceError: this process was forked from the one with the engine's threads.
        """
        if self.is_forked:
            raise InferenceError(
                f"this queue was made in process {self._process}, before a fork, and its threads "
                f"stayed there: make a Batcher or AsyncGate in each worker. The gate itself may be "
                "opened before the fork"
            )

    def swap(self, gate: Judge) -> None:
        """Answer new requests with another gate; the old gate answers what was asked before."""
        with self.condition:
            if self.store is not None and gate.model != self.gate.model:
                # Their keys name the old bundle: they would never be found.
                self.store.clear()
            self.gate = gate
            self.answers.clear_cache()

    def abandon(self, future: Future[Any]) -> None:
        """Stop waiting for an answer; its work is dropped if nobody else wants it."""
        future.cancel()
        with self.condition:
            unwanted = self.answers.leave(future)
            if unwanted is not None and self.backlog.remove(unwanted):
                self.answers.forget(unwanted)

    def finish(self, text: QueuedText, answer: Answer | BaseException) -> None:
        """Give a text's answer, or the error instead of one, to all who wait for it."""
        with self.condition:
            waiters = self.answers.forget(text)
            if not isinstance(answer, BaseException) and text.gate is self.gate:
                self.answers.keep(text.key, answer)
        shown = presentable(answer) if isinstance(answer, BaseException) else answer
        for future in waiters:
            resolve(future, shown)


def presentable(error: BaseException) -> HazgateError:
    """Return an error that may be shown; another one is logged without its message."""
    if isinstance(error, HazgateError):
        return error
    # Its message may quote a text.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("the engine failed: %s\n%s", type(error).__name__, frames)
    return InferenceError(f"the engine failed: {type(error).__name__}")


def resolve(future: Future[Answer], answer: Answer | HazgateError) -> None:
    """Give an answer to a future that its owner may have cancelled meanwhile."""
    try:
        if isinstance(answer, HazgateError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
    except InvalidStateError:
        pass
