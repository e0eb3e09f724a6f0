"""An event loop on a thread of its own, for work that would hold up the main one."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Reading this many bytes, or this many items, takes some milliseconds; more waits on the side.
_HEAVY_BYTES = 8_192
_HEAVY_ITEMS = 128


def is_heavy(body: bytes) -> bool:
    """Return whether reading a body, and answering it, may take long on the event loop."""
    return is_much(n_bytes=len(body), n_items=body.count(b","))


def is_much(*, n_bytes: int, n_items: int = 1) -> bool:
    """Return whether so much may take long on the event loop."""
    return n_bytes > _HEAVY_BYTES or n_items > _HEAVY_ITEMS


class SideLoop:
    """A second event loop. Thread-safe; its thread starts with the first work and is a daemon."""

    def __init__(self, name: str) -> None:
        """Name the thread; nothing starts yet."""
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine there; cancelling this cancels it.

        Args:
            work: makes the coroutine.
        """
        future = asyncio.run_coroutine_threadsafe(work(), self._started())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the thread; work that is left stops where it is."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run, args=(self._loop,), name=self._name, daemon=True
                ).start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        # Each cancelled task takes one turn at least.
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
