"""The health of an engine: may requests be sent to it, and must it be replaced?"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

_LOG = logging.getLogger("hazgate.serving")

# An engine that fails is tried again by probes of its readiness, but not by each of them.
PROBE_INTERVAL_S = 1.0
# A probe that takes longer than this is answered "failing"; the try goes on.
_PROBE_TIMEOUT_S = 5.0


@dataclass(kw_only=True, slots=True)
class Health:
    """The state of an engine.

    A load balancer sends it no request while it fails, so it is tried again without requests:
    whenever its readiness is asked for, at most once per `PROBE_INTERVAL_S`.

    Attributes:
        warmed: True once the warm-up texts were answered.
        failing: True if the last try failed.
        draining: True once the server ends.
    """

    warmed: bool = False
    failing: bool = False
    draining: bool = False
    _suspected: bool = field(default=False, repr=False)
    _tried_s: float = field(default=-math.inf, repr=False)
    _trying: "asyncio.Task[None] | None" = field(default=None, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)

    def warm(self) -> None:
        """Note that the warm-up texts were answered; tries run on this event loop from now on."""
        self._loop = asyncio.get_running_loop()
        self.warmed = True

    @property
    def ready(self) -> bool:
        """True if a load balancer should send requests here."""
        return self.warmed and not self.failing and not self.draining

    async def try_again(self, prove: Callable[[], Awaitable[None]]) -> None:
        """Run `prove` if the engine fails, or may, and was not just tried; wait for its end.

        Args:
            prove: runs the engine and raises if it fails.
        """
        if not self.failing and not self._suspected:
            return
        task = self._try(prove)
        if task is not None:
            await asyncio.wait([task], timeout=_PROBE_TIMEOUT_S)
            if not task.done():
                self.failing = True

    def suspect(self, prove: Callable[[], Awaitable[None]]) -> None:
        """Run `prove` in the background: a text failed, and perhaps the engine with it.

        Args:
            prove: as of `try_again`.
        """
        self._suspected = True
        loop = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed() or self._loop is loop:
            self._try(prove)
        else:
            # A task belongs to one event loop.
            self._loop.call_soon_threadsafe(self._try, prove)

    def _try(self, prove: Callable[[], Awaitable[None]]) -> "asyncio.Task[None] | None":
        """Return the try that runs; begin one unless the last one is too recent."""
        if self._trying is not None and not self._trying.done():
            return self._trying
        now_s = time.monotonic()
        if now_s - self._tried_s < PROBE_INTERVAL_S:
            return None
        self._tried_s = now_s
        self._trying = asyncio.create_task(self._run(prove))
        return self._trying

    async def _run(self, prove: Callable[[], Awaitable[None]]) -> None:
        failed = True
        try:
            await prove()
            failed = False
        # Whoever asked for readiness must get an answer, whatever the engine raises.
        except Exception as error:
            _LOG.debug("the engine was tried: %s", type(error).__name__)
        # A panic is no Exception, and is a failure all the same.
        finally:
            if failed != self.failing:
                _LOG.warning("the engine %s", "fails: not ready" if failed else "answers again")
            self.failing, self._suspected = failed, False
