"""A request whose client hung up is given up: nothing more is done for it."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive

# Turns of the event loop after which an end that the system knows of has become a message: it is
# read, it closes the connection, and it wakes the reader.
_TURNS_TO_HEAR_THE_END = 4


async def run_while_connected(
    run: Callable[[], Awaitable[None]],
    receive: Receive,
    is_answered: Callable[[], bool],
    *,
    is_heavy: bool = False,
) -> None:
    """Run to the end, or until the client has hung up; then cancel the work.

    Args:
        run: answers a request whose body was received whole.
        receive: gives the connection's next message, which can only be its end.
        is_answered: True once the whole answer was sent; servers call that an end, too.
        is_heavy: the work costs more than a look at the connection: it begins only after one.
    """
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        for _ in range(_TURNS_TO_HEAR_THE_END if is_heavy else 0):
            await asyncio.sleep(0)
        if gone.done():
            return
        task = asyncio.ensure_future(run())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() or is_answered():
                # Raises what the application raised.
                await task
        finally:
            task.cancel()
    finally:
        gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
