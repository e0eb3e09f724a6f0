"""A thread that does jobs in the fair turns of their callers."""

import logging
import threading
from collections.abc import Callable

from hazgate.serving.queue.fair import FairQueue

_LOG = logging.getLogger("hazgate.serving")


class FairThread:
    """One thread and the jobs that wait for it. Thread-safe.

    A caller with many jobs, or with costly ones, does not hold up another's first job.
    """

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._jobs: FairQueue[Callable[[], None]] = FairQueue()
        self._closing = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, caller: str, cost: float, job: Callable[[], None]) -> None:
        """Let the thread do `job` in its caller's turn.

        Args:
            caller: whose turn it takes.
            cost: the job's expected work, in any unit.
            job: handles its own errors; one that escapes is logged by its class.

        Raises:
            RuntimeError: the thread takes nothing more.
        """
        with self._condition:
            if self._closing:
                raise RuntimeError(f"{self._thread.name} takes no more jobs")
            self._jobs.append(caller, job, cost)
            self._condition.notify()

    def close(self) -> None:
        """Do the jobs that wait, and end the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._jobs and not self._closing:
                    self._jobs.rest()
                    self._condition.wait()
                if not self._jobs:
                    return
                job = self._jobs.pop()
            try:
                job()
            # A tokenizer's panic is no Exception, and the thread must outlive it, too.
            except BaseException as error:
                _LOG.error("%s: a job failed: %s", self._thread.name, type(error).__name__)
