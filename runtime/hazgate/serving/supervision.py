"""The end of a server, and of an engine that is dead: both in order, and said aloud."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from hazgate.errors import HazgateError
from hazgate.judge import Judge
from hazgate.serving.service import Service

_LOG = logging.getLogger("hazgate.serving")

_WATCH_INTERVAL_S = 1.0
# EX_SOFTWARE of sysexits.h; a supervisor starts the process again.
_DEAD_ENGINE = 70


def drain_first(service: Service) -> None:
    """On SIGTERM, turn readiness red before the server stops listening.

    The handler that was installed runs `drain_delay_s` later. Without a handler, or outside the
    main thread, which alone gets signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop):
        return
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: FrameType | None) -> None:
        delay_s = 0.0 if service.health.draining else service.settings.drain_delay_s
        service.health.draining = True
        if delay_s:
            # A signal interrupts the loop anywhere; only this call may be made from here.
            loop.call_soon_threadsafe(loop.call_later, delay_s, stop, number, frame)
        else:
            stop(number, frame)

    signal.signal(signal.SIGTERM, drain)


async def replace_dead_engine(service: Service, reopen: Callable[[], Judge] | None) -> None:
    """Open the gate again once if the engine is dead; the second time, end the process.

    An engine is dead if its thread is, or if a run takes longer than `engine.max_run_s`.

    Args:
        service: the service to watch, until this is cancelled.
        reopen: opens the gate again; None ends the process at once.
    """
    while True:
        await asyncio.sleep(_WATCH_INTERVAL_S)
        if service.live:
            continue
        if reopen is None:
            break
        _LOG.error("the engine does not answer: opening the bundle again")
        try:
            gate = await asyncio.to_thread(reopen)
        except HazgateError as error:
            _LOG.critical("the bundle cannot be opened again: %s", error)
            break
        service.engine.rebuild(gate)
        reopen = None
    _LOG.critical("the engine is dead: the process ends with %d, start it again", _DEAD_ENGINE)
    # Its thread cannot be stopped, so an orderly end would wait for it.
    logging.shutdown()
    os._exit(_DEAD_ENGINE)
