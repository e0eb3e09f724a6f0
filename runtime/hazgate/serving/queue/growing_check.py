"""Checks of a growing text on threads, which are given up if its client hangs up."""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future

from hazgate.errors import Overloaded
from hazgate.judge import Answer, verdict_of
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.batcher import Batcher
from hazgate.text.growing import DueWindow


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
        self._waiting: list[Future[Answer]] = []
        self._is_given_up = False

    def __call__(self, windows: Sequence[DueWindow]) -> list[Verdict]:
        """Return the verdict on each window; block until all are there.

        Raises:
            Overloaded: too much is waiting already, or `give_up` was called.
            HazgateError: as of `Batcher.check`.
        """
        ask = Ask(
            texts=[window.text for window in windows],
            tokens=[window.tokens for window in windows],
            tenant=self._tenant,
            caller=self._caller,
            timeout_s=self._timeout_s,
        )
        with self._lock:
            if self._is_given_up:
                raise _gone()
            self._waiting = self._engine.submit(ask)
        try:
            return [verdict_of(self._engine.wait(future, ask)) for future in self._waiting]
        except CancelledError:
            raise _gone() from None
        finally:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                # Of several windows, one may have failed.
                self._engine.abandon(future)

    def give_up(self) -> None:
        """Drop the check that waits, and refuse all that would follow."""
        with self._lock:
            self._is_given_up = True
            waiting = self._waiting
        for future in waiting:
            self._engine.abandon(future)


def _gone() -> Overloaded:
    return Overloaded("the client hung up; nothing more is read of its text")
