"""A gate for asyncio: answers, deadlines and cancels without a blocked event loop."""

import asyncio
import time

import pytest

from hazgate import DeadlineExceeded, Gate, InputError, Overloaded
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.async_gate import AsyncGate
from hazgate.serving.queue.backlog import QueueLimits
from tests.support.sessions import held_gate


def test_many_tasks_get_the_gates_own_answers(spotting: Gate) -> None:
    texts = [f"{'good ' * (i % 7)}{('morning', 'good')[i % 2]}" for i in range(200)]

    async def run() -> list[object]:
        async with AsyncGate(spotting) as gate:
            return await asyncio.gather(*(gate.check(text) for text in texts))

    assert asyncio.run(run()) == spotting.check_many(texts)


def test_the_texts_of_one_request_keep_their_order(spotting: Gate) -> None:
    texts = ["good", "morning", "", "world"]

    async def run() -> list[object]:
        async with AsyncGate(spotting) as gate:
            return list(await gate.answer(Ask(texts=texts, all_levels=True)))

    assert asyncio.run(run()) == spotting.check_many(texts, all_levels=True)


def test_a_busy_engine_blocks_no_event_loop_and_a_deadline_is_kept(spotting: Gate) -> None:
    held, session = held_gate(spotting)

    async def run() -> float:
        async with AsyncGate(held) as gate:
            start = time.monotonic()
            with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.05 s"):
                await gate.check("morning", timeout_s=0.05)
            waited = time.monotonic() - start
            session.go.set()
            return waited

    assert asyncio.run(run()) >= 0.05


def test_a_deadline_counts_from_the_arrival_of_the_request(spotting: Gate) -> None:
    held, session = held_gate(spotting)

    async def run() -> None:
        async with AsyncGate(held) as gate:
            ask = Ask(texts=["morning"], timeout_s=60, arrived_s=time.monotonic() - 61)
            with pytest.raises(DeadlineExceeded):
                await gate.answer(ask)
            session.go.set()

    asyncio.run(run())


def test_a_refused_caller_that_asks_again_at_once_does_not_block_the_event_loop(
    spotting: Gate,
) -> None:
    held, session = held_gate(spotting)

    async def run() -> int:
        async with AsyncGate(held, limits=QueueLimits(max_queue_requests=1)) as gate:
            waiting = [asyncio.create_task(gate.check("good")) for _ in range(2)]
            await asyncio.to_thread(session.running.wait, 20)
            stop = asyncio.Event()
            n_refused = 0

            async def insist() -> None:
                nonlocal n_refused
                while not stop.is_set():
                    with pytest.raises((Overloaded, DeadlineExceeded)):
                        await gate.check("morning", timeout_s=0.0)
                    n_refused += 1

            asking = asyncio.create_task(insist())
            # This task gets its turns only if the other one gives them up.
            while n_refused < 50:
                await asyncio.sleep(0)
            stop.set()
            await asking
            session.go.set()
            await asyncio.gather(*waiting)
            return n_refused

    assert asyncio.run(run()) >= 50


async def _until_waiting(gate: AsyncGate, n_requests: int) -> None:
    """Wait until so many requests are in the queue; tokenising threads put them there."""
    while gate.batcher.n_waiting != n_requests:
        await asyncio.sleep(0)


def test_the_work_of_a_cancelled_task_is_dropped(spotting: Gate) -> None:
    held, session = held_gate(spotting)

    async def run() -> None:
        async with AsyncGate(held) as gate:
            first = asyncio.create_task(gate.check("good"))
            await asyncio.to_thread(session.running.wait, 20)
            second = asyncio.create_task(gate.check("morning"))
            await asyncio.wait_for(_until_waiting(gate, 1), 20)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert gate.batcher.n_waiting == 0
            session.go.set()
            assert not (await first).flagged

    asyncio.run(run())
    assert session.n_texts == [1]


def test_one_bad_text_fails_its_request_and_no_other(spotting: Gate) -> None:
    async def run() -> None:
        async with AsyncGate(spotting) as gate:
            with pytest.raises(InputError, match="lone surrogate"):
                await gate.answer(Ask(texts=["good", "\ud800"]))
            with pytest.raises(InputError, match="got one string"):
                Ask(texts="good")
            assert (await gate.check("morning")).flagged

    asyncio.run(run())
