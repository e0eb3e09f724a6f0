"""What an asyncio gateway holds: a gate that never blocks its event loop."""

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType

from hazgate.errors import DeadlineExceeded, HazgateError
from hazgate.gate import Gate
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.backlog import Limits
from hazgate.serving.queue.batcher import Batcher, BatchFacts
from hazgate.text.tokenization import as_texts


class AsyncGate:
    """A gate for asyncio over one `Batcher`; for any number of tasks and event loops.

    >>> async with AsyncGate(Gate.open("build/mini")) as gate:      # doctest: +SKIP
    ...     verdict = await gate.check("text", timeout_s=0.2)
    """

    def __init__(
        self,
        gate: Gate,
        *,
        limits: Limits | None = None,
        cache_entries: int = 0,
        on_batch: Callable[[BatchFacts], None] | None = None,
    ) -> None:
        """Starts the engine's thread; arguments as of `Batcher`."""
        self.batcher = Batcher(gate, limits=limits, cache_entries=cache_entries, on_batch=on_batch)

    async def check(
        self,
        text: str,
        *,
        all_levels: bool = False,
        tenant: str | None = None,
        caller: str = "",
        timeout_s: float = math.inf,
    ) -> Verdict:
        """The verdict on one text. Cancelling the task drops the work if nobody else wants it.

        Args:
            text: any text, as `Gate.check` takes it.
            all_levels: as in `Gate.check`.
            tenant: as in `Gate.check`.
            caller: whose turn it is; callers take turns.
            timeout_s: how long an answer is of use.

        Raises:
            InputError: the text cannot be read.
            Overloaded: too much is waiting already.
            DeadlineExceeded: there was no answer in time.
            InferenceError: the model failed.
        """
        (verdict,) = await self.check_many(
            [text], all_levels=all_levels, tenant=tenant, caller=caller, timeout_s=timeout_s
        )
        return verdict

    async def check_many(
        self,
        texts: Sequence[str],
        *,
        all_levels: bool = False,
        tenant: str | None = None,
        caller: str = "",
        timeout_s: float = math.inf,
    ) -> list[Verdict]:
        """The verdict on each text, in the order given; the first error is that of the whole call.

        Arguments and errors as in `check`.
        """
        futures = self.batcher.submit_many(
            as_texts(texts),
            all_levels=all_levels,
            tenant=tenant,
            caller=caller,
            timeout_s=timeout_s,
        )
        # Refused at once: nothing is set up to wait for it. Whoever asks again at once must still
        # not keep the event loop to itself.
        if futures and futures[0].done() and (refusal := futures[0].exception()) is not None:
            self._abandon(futures)
            await asyncio.sleep(0)
            raise refusal
        answers = asyncio.gather(*map(asyncio.wrap_future, futures))
        try:
            return await asyncio.wait_for(answers, None if math.isinf(timeout_s) else timeout_s)
        except asyncio.TimeoutError as error:
            self._abandon(futures)
            # What the engine dropped as too late comes in its own words.
            if isinstance(error, HazgateError):
                raise
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from None
        except BaseException:
            self._abandon(futures)
            raise

    async def close(self, timeout_s: float = math.inf) -> bool:
        """Answers what is waiting and ends the engine's thread, see `Batcher.close`."""
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

    def _abandon(self, futures: "Sequence[Future[Verdict]]") -> None:
        for future in futures:
            self.batcher.abandon(future)
