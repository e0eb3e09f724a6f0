"""A request whose client hung up is given up: nothing more is done for it."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive


async def run_while_connected(
    run: Awaitable[None], receive: Receive, is_answered: Callable[[], bool]
) -> None:
    """Run to the end, or until the client has hung up; then cancel the work.

    Args:
        run: answers a request whose body was received whole.
        receive: gives the connection's next message, which can only be its end.
        is_answered: True once the whole answer was sent; servers call that an end, too.
    """
    task = asyncio.ensure_future(run)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done() or is_answered():
            # Raises what the application raised.
            await task
    finally:
        gone.cancel()
        task.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
