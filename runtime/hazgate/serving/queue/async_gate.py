"""A gate for asyncio that never blocks the event loop."""

import asyncio
import math
from collections.abc import Callable, Collection
from types import TracebackType

from hazgate.engine.logit_store import DEFAULT_STORE, StoreLimits
from hazgate.gate import Gate
from hazgate.judge import Answer, verdict_of
from hazgate.judging.classification import Classification
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.queue.engine_thread import BatchFacts
from hazgate.serving.queue.settle import first_error, settle


async def answer(batcher: Batcher, ask: Ask) -> list[Answer]:
    """Return the answer on each text, in the order given; the first error fails the request.

    Cancelling the task drops the work if nobody else wants it.

    Raises:
        InputError: a text cannot be read.
        Overloaded: too much is waiting already.
        DeadlineExceeded: there was no answer in time.
        InferenceError: the model failed.
    """
    outcomes = await settle(batcher, ask, enough=lambda outcome: isinstance(outcome, Exception))
    error = first_error(outcomes)
    if error is not None:
        raise error
    return [outcome for outcome in outcomes if isinstance(outcome, (Verdict, Classification))]


class AsyncGate:
    """A gate for asyncio over one `Batcher`; for any number of tasks and event loops.

    >>> async with AsyncGate(Gate.open("build/mini")) as gate:      # doctest: +SKIP
    ...     verdict = await gate.check("text", timeout_s=0.2)
    """

    def __init__(
        self,
        gate: Gate,
        *,
        limits: QueueLimits | None = None,
        cache_entries: int = 0,
        store: StoreLimits = DEFAULT_STORE,
        on_batch: Callable[[BatchFacts], None] | None = None,
    ) -> None:
        """Start the engine's thread; arguments as of `Batcher`, but with a store by default."""
        self.batcher = Batcher(
            gate, limits=limits, cache_entries=cache_entries, store=store, on_batch=on_batch
        )

    async def check(
        self,
        text: str,
        *,
        all_levels: bool = False,
        levels: Collection[str] = (),
        tenant: str | None = None,
        caller: str = "",
        timeout_s: float = math.inf,
    ) -> Verdict:
        """Return the verdict on one text. Arguments as of `Ask`, errors as of `answer`."""
        (verdict,) = await self.answer(
            Ask(
                texts=[text],
                all_levels=all_levels,
                levels=tuple(levels),
                tenant=tenant,
                caller=caller,
                timeout_s=timeout_s,
            )
        )
        return verdict

    async def answer(self, ask: Ask) -> list[Verdict]:
        """Return the verdicts on the texts of one request; see `answer` of this module."""
        return [verdict_of(each) for each in await answer(self.batcher, ask)]

    async def close(self, timeout_s: float = math.inf) -> bool:
        """Answer what is waiting and end the engine's thread, see `Batcher.close`."""
        return await asyncio.to_thread(self.batcher.close, timeout_s)

    async def __aenter__(self) -> "AsyncGate":  # noqa: PYI034 - typing.Self is Python 3.11's
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
