"""Arrival times of requests, and the fate of each. Knows no system: callers hand one in."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

# Ten times what the longest proof text takes on a slow machine.
DEADLINE_S = 0.5

# A refused asker waits this long before it asks again, in `saturate`.
_BACK_OFF_S = 0.05

Ask = Callable[[str], Awaitable[bool]]


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return times of a Poisson process of `rate` events per second, from 0 to `seconds`."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1 / rate, size=int(2 * rate * seconds) + 50)
    times = np.cumsum(gaps)
    return [float(t) for t in times[times < seconds]]


async def offer(ask: Ask, texts: Sequence[str], times: Sequence[float]) -> list[float | None]:
    """Ask at the given times, without waiting for earlier answers.

    Returns:
        Seconds from each planned time to its answer; NaN where it was refused, None where it was
        too late.
    """
    found: list[float | None] = [None] * len(times)
    begin = time.perf_counter()

    async def one(i: int) -> None:
        refused = not await ask(texts[i % len(texts)])
        taken = time.perf_counter() - begin - times[i]
        found[i] = math.nan if refused else taken if taken <= DEADLINE_S else None

    tasks = []
    for i, at in enumerate(times):
        delay = begin + at - time.perf_counter()
        # The event loop must get its turn even if this request is late already.
        await asyncio.sleep(max(0.0, delay))
        tasks.append(asyncio.create_task(one(i)))
    await asyncio.gather(*tasks)
    return found


def call_in_turn(
    check: Callable[[str], object], texts: Sequence[str], times: Sequence[float]
) -> list[float | None]:
    """Ask as a caller without an event loop, one call after another; return as `offer` does."""
    found: list[float | None] = []
    begin = time.perf_counter()
    for i, at in enumerate(times):
        time.sleep(max(0.0, begin + at - time.perf_counter()))
        check(texts[i % len(texts)])
        taken = time.perf_counter() - begin - at
        found.append(taken if taken <= DEADLINE_S else None)
    return found


async def saturate(ask: Ask, texts: Sequence[str], n_askers: int, seconds: float) -> float:
    """Return answers per second while each of `n_askers` asks again once it is answered.

    A refused asker backs off, as clients do; else refusals would keep the processors busy.
    """
    n_answered = 0
    begin = time.perf_counter()

    async def one(first: int) -> None:
        nonlocal n_answered
        i = first
        while time.perf_counter() - begin < seconds:
            if await ask(texts[i % len(texts)]):
                n_answered += 1
            else:
                await asyncio.sleep(_BACK_OFF_S)
            i += n_askers

    await asyncio.gather(*map(one, range(n_askers)))
    return n_answered / (time.perf_counter() - begin)
