"""The outcome of each text of a request, for asyncio; a request never fills the queue by itself."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeAlias

from hazgate.judge import Answer
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.serving.queue.batcher import Batcher, no_answer_in_time

# An answer, or the reason why there is none.
Outcome: TypeAlias = Answer | Exception

# Texts and characters of one request that wait at a time: enough to fill the engine's batches.
_TEXTS_AHEAD = 64
_CHARACTERS_AHEAD = 16_384
# A text costs a few tokens even if it has no character.
_CHARACTERS_PER_TEXT = 8
_LATE = -1


async def settle(
    batcher: Batcher, ask: Ask, *, enough: Callable[[Outcome], bool]
) -> list[Outcome | None]:
    """Return the outcome of each text, in the order given; None for what was not waited for.

    Only so many texts of the request are in the queue at a time that its own number and length
    never fill it. Cancelling the task drops the work if nobody else wants it.

    Args:
        batcher: the engine's queue.
        ask: the request.
        enough: called with each outcome as it comes; True ends the waiting.

    Raises:
        Overloaded: the request was refused as a whole, before any work.
    """
    refusal = batcher.refusal(ask)
    if refusal is not None:
        # A caller that asks again immediately must not keep the event loop to itself.
        await asyncio.sleep(0)
        raise refusal
    outcomes: list[Outcome | None] = [None] * len(ask.texts)
    loop = asyncio.get_running_loop()
    settled: asyncio.Queue[int] = asyncio.Queue()
    room = _Room(batcher.limits)
    waiting: dict[int, Future[Answer]] = {}
    following = 0
    timer = None if ask.left_s is None else loop.call_later(ask.left_s, settled.put_nowait, _LATE)

    def note(i: int) -> None:
        # The loop may have ended while the engine's thread still answers.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settled.put_nowait, i)

    try:
        while True:
            while following < len(ask.texts) and room.take(ask.texts[following]):
                future = waiting[following] = batcher.enter(ask, following)
                future.add_done_callback(lambda _, i=following: note(i))  # type: ignore[misc]
                following += 1
            if not waiting:
                return outcomes
            i = await settled.get()
            if i == _LATE:
                late = no_answer_in_time(ask)
                return [late if outcome is None else outcome for outcome in outcomes]
            outcome = outcomes[i] = _outcome(waiting.pop(i))
            room.give_back(ask.texts[i])
            if enough(outcome):
                return outcomes
    finally:
        if timer is not None:
            timer.cancel()
        for future in waiting.values():
            batcher.abandon(future)


def first_error(outcomes: Sequence[Outcome | None]) -> Exception | None:
    """Return the first error among outcomes, or None."""
    return next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)


def _outcome(future: Future[Answer]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error


class _Room:
    """Room in the queue for the texts of one request; a single text always has some."""

    def __init__(self, limits: QueueLimits) -> None:
        texts = max(_TEXTS_AHEAD, limits.max_batch_tokens // 4)
        characters = max(_CHARACTERS_AHEAD, 4 * limits.max_batch_tokens)
        self._texts = min(texts, max(1, limits.max_queue_requests // 2))
        self._characters = min(characters, max(1, limits.max_queue_tokens // 4))
        self._n_texts = 0
        self._n_characters = 0

    def take(self, text: object) -> bool:
        """Take a text's room; return False, and take none, if there is not enough."""
        n_characters = _size(text)
        if self._n_texts and (
            self._n_texts >= self._texts or self._n_characters + n_characters > self._characters
        ):
            return False
        self._n_texts += 1
        self._n_characters += n_characters
        return True

    def give_back(self, text: object) -> None:
        """Give a text's room back."""
        self._n_texts -= 1
        self._n_characters -= _size(text)


def _size(text: object) -> int:
    # The gate refuses what is not a string, like any other text that cannot be read.
    return _CHARACTERS_PER_TEXT + (len(text) if isinstance(text, str) else 0)
