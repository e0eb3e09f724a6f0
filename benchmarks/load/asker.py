"""The asker, in a process of its own.

    python -m benchmarks.load.asker

Requests come on standard input and replies go to standard output, one line of JSON each; see
`benchmarks.load.messages`. An asker over HTTP holds no engine, so its processor time is its own
work and nothing else.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.messages import parse
from benchmarks.harness.worker import Reply, answer
from benchmarks.load.arrivals import DEADLINE_S, Ask, call_in_turn, offer, saturate
from benchmarks.load.client import Client
from benchmarks.load.messages import (
    AskerReady,
    AskerRequest,
    AskerSetup,
    AskResults,
    InProcess,
    OverHttp,
    Rate,
)

T = TypeVar("T")

# A client hangs up some time after the deadline, so no flood of connections outlives its turn.
_PATIENCE_S = 3 * DEADLINE_S
_OK = 200

Opener = Callable[[], AbstractAsyncContextManager[Ask]]


def serve(requests: Iterator[str], reply: Reply) -> None:
    """Answer requests until there are no more."""
    setup = parse(AskerSetup, json.loads(next(requests)))
    opened, check = _open(setup)
    reply(AskerReady(pid=os.getpid()))
    for line in requests:
        reply(_do(parse(AskerRequest, json.loads(line)), setup.texts, opened, check))


def _do(
    request: AskerRequest,
    texts: Sequence[str],
    opened: Opener,
    check: Callable[[str], object] | None,
) -> AskResults | Rate:
    own = [*texts[request.first :], *texts[: request.first]]
    cpu_s = time.process_time()
    if request.action == "saturate":
        rate = asyncio.run(
            _with(opened, lambda ask: saturate(ask, own, request.n_askers, request.seconds))
        )
        return Rate(answers_per_s=rate)
    if request.action == "call":
        if check is None:
            raise WorkerFailed("expected a gate in this process to call; this asker asks over HTTP")
        taken = call_in_turn(check, own, request.times)
    else:
        taken = asyncio.run(_with(opened, lambda ask: offer(ask, own, request.times)))
    return AskResults(taken_s=tuple(taken), cpu_s=time.process_time() - cpu_s)


async def _with(opened: Opener, use: Callable[[Ask], Awaitable[T]]) -> T:
    async with opened() as ask:
        return await use(ask)


def _open(setup: AskerSetup) -> tuple[Opener, Callable[[str], object] | None]:
    """Return how to ask from an event loop, and without one for a gate in this process."""
    if setup.http is not None:
        http = setup.http
        return lambda: _over_http(http), None
    if setup.gate is None:
        raise WorkerFailed("expected a gate or a server to ask, got neither")
    return _in_process(setup.gate)


@asynccontextmanager
async def _over_http(target: OverHttp) -> AsyncIterator[Ask]:
    client = Client(port=target.port, patience_s=_PATIENCE_S)

    async def ask(text: str) -> bool:
        try:
            return await client.post(target.path, body_of(target, text)) == _OK
        except TimeoutError:
            # Counted as late, because it took longer than the deadline.
            return True
        except (OSError, ValueError):
            return False

    yield ask
    await client.close()


def body_of(target: OverHttp, text: str) -> bytes:
    """Return the JSON that asks about one text."""
    asked = [text] if target.is_list else text
    return json.dumps({**target.fields, target.text_field: asked}).encode()


def _in_process(target: InProcess) -> tuple[Opener, Callable[[str], object]]:
    # An asker over HTTP must not load it.
    from hazgate import DeadlineExceeded, Gate, Overloaded
    from hazgate.engine.logit_store import NO_STORE
    from hazgate.engine.options import EngineOptions
    from hazgate.serving.queue.async_gate import AsyncGate

    gate = Gate.open(
        target.bundle, engine=EngineOptions(variant=target.variant, threads=target.threads)
    )
    lock = threading.Lock()

    def check_alone(text: str) -> None:
        with lock:
            gate.check(text)

    @asynccontextmanager
    async def locked() -> AsyncIterator[Ask]:
        async def ask(text: str) -> bool:
            await asyncio.to_thread(check_alone, text)
            return True

        yield ask

    @asynccontextmanager
    async def batched() -> AsyncIterator[Ask]:
        # Texts come again, and each is to be read, as by the other systems.
        async with AsyncGate(gate, store=NO_STORE) as served:

            async def ask(text: str) -> bool:
                try:
                    await served.check(text, timeout_s=DEADLINE_S)
                except (Overloaded, DeadlineExceeded):
                    return False
                return True

            yield ask

    return (batched if target.way == "async" else locked), gate.check


if __name__ == "__main__":
    answer(serve, sys.stdin)
