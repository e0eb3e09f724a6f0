"""Checks of a growing text on threads, which are given up if its client hangs up."""

import threading
from concurrent.futures import CancelledError, Future

from hazgate.errors import Overloaded
from hazgate.judge import Answer, verdict_of
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.batcher import Batcher


class GrowingCheck:
    """The checks of one text, one after the other. Thread-safe."""

    def __init__(
        self, engine: Batcher, *, tenant: str | None, caller: str, timeout_s: float
    ) -> None:
        """Ask `engine`; the other arguments are those of `Ask`."""
        self._engine = engine
        self._tenant = tenant
        self._caller = caller
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._waiting: Future[Answer] | None = None
        self._is_given_up = False

    def __call__(self, text: str) -> Verdict:
        """Return the verdict on a text; block until there is one.

        Raises:
            Overloaded: too much is waiting already, or `give_up` was called.
            HazgateError: as of `Batcher.check`.
        """
        ask = Ask(texts=[text], tenant=self._tenant, caller=self._caller, timeout_s=self._timeout_s)
        with self._lock:
            if self._is_given_up:
                raise _gone()
            (future,) = self._engine.submit(ask)
            self._waiting = future
        try:
            return verdict_of(self._engine.wait(future, ask))
        except CancelledError:
            raise _gone() from None
        finally:
            self._waiting = None

    def give_up(self) -> None:
        """Drop the check that waits, and refuse all that would follow."""
        with self._lock:
            self._is_given_up = True
            waiting = self._waiting
        if waiting is not None:
            self._engine.abandon(waiting)


def _gone() -> Overloaded:
    return Overloaded("the client hung up; nothing more is read of its text")
