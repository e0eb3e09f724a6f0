"""Worker processes that a reload replaces all, or none."""

import logging
import signal
import time
from collections.abc import Callable
from socket import socket
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from hazgate.errors import HazgateError

_LOG = logging.getLogger("hazgate.serving")

# A worker opens a bundle, compiles it on some providers, and warms it.
READY_WITHIN_S = 600
# A worker that works may be slow to answer, e.g. while a tokenizer loads.
ANSWERS_WITHIN_S = 60
_TRY_AGAIN_S = 5.0


class Workers(Multiprocess):
    """uvicorn's workers; on SIGHUP new ones take over once all of them are ready."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket],
        reread: Callable[[], uvicorn.Config],
    ) -> None:
        """Prepare the workers.

        Args:
            config: what the first workers start from.
            sockets: those that all of them listen on.
            reread: reads everything anew and returns what the next workers start from; raises
                HazgateError if that cannot be served.
        """
        super().__init__(config, sockets)
        self._reread = reread
        self._try_again_s = 0.0
        # When each worker was asked for the sign of life that it still owes.
        self._asked_s: WeakKeyDictionary[Process, float] = WeakKeyDictionary()

    def restart_all(self) -> None:
        """Replace all workers by ready ones, or keep all of them."""
        try:
            config = self._reread()
        except HazgateError as error:
            _LOG.error("reload failed, the workers stay: %s", error)
            return
        fresh: list[Process] = []
        for _ in self.processes:
            process = Process(config, self.sockets)
            process.start()
            fresh.append(process)
            if not process.wait_until_ready(READY_WITHIN_S, _Ending(self)):  # type: ignore[arg-type]
                _LOG.error("reload failed, the workers stay: a new one did not get ready")
                _end(fresh)
                return
        retired, self.processes, self.config = self.processes, fresh, config
        _LOG.warning("reloaded: %d workers", len(fresh))
        _end(retired)

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died; while others serve, one that cannot start is tried again."""
        for i, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if self._lives(process):
                continue
            process.kill()
            process.join()
            # 1 is an error while the application was built; other codes come from running ones.
            if process.exitcode in (STARTUP_FAILURE, 1):
                if not any(each.process.is_alive() for each in self.processes):
                    _LOG.critical("no worker can start: the server ends")
                    self.should_exit.set()
                    return
                if time.monotonic() < self._try_again_s:
                    continue
                self._try_again_s = time.monotonic() + _TRY_AGAIN_S
                _LOG.error("a worker cannot start again; the others serve on")
            fresh = Process(self.config, self.sockets)
            fresh.start()
            self.processes[i] = fresh

    def _lives(self, process: Process) -> bool:
        """Tell whether a worker runs and owes no sign of life for too long; never wait for one.

        A worker that dies while it owes a sign would be waited for to the end, since this process
        keeps both ends of the pipe open; nor would any signal or other worker be attended to.
        """
        if not process.process.is_alive():
            return False
        try:
            while process.parent_conn.poll():
                process.parent_conn.recv()
                self._asked_s.pop(process, None)
            if process not in self._asked_s:
                process.parent_conn.send(b"ping")
                self._asked_s[process] = time.monotonic()
        except (OSError, EOFError):
            return False
        return time.monotonic() < self._asked_s[process] + ANSWERS_WITHIN_S


class _Ending:
    """The wish to end, also while a reload waits and no signal is handled."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def is_set(self) -> bool:
        asked = {signal.SIGTERM, signal.SIGINT}.intersection(self._workers.signal_queue)
        return bool(asked) or self._workers.should_exit.is_set()


def _end(processes: list[Process]) -> None:
    """Have workers answer what they have, and end."""
    for process in processes:
        if process.process.is_alive():
            process.terminate()
    for process in processes:
        process.join()
