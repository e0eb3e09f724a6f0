"""`python -m benchmarks.attacks.attacker`: attacks a server as its parent says.

It answers requests as the workers of `benchmarks.harness` do.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from benchmarks.attacks.attacks import BY_NAME, Attack
from benchmarks.attacks.messages import Attacked, AttackerReady, AttackerSetup, AttackRequest
from benchmarks.attacks.target import Target
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.messages import parse
from benchmarks.harness.worker import Reply, answer

# Acts that go on at a time where acts are begun at a rate; more would be another attack.
_MAX_MIXED = 200


def serve(requests: Iterator[str], reply: Reply) -> None:
    """Answer requests until there are no more."""
    # It shares a processor with the honest asker, whose clock must not wait for it.
    os.nice(19)
    setup = parse(AttackerSetup, json.loads(next(requests)))
    target = Target(port=setup.port, grpc_port=setup.grpc_port, pid=setup.pid, model=setup.model)
    reply(AttackerReady(pid=os.getpid()))
    for line in requests:
        reply(asyncio.run(_attack(target, parse(AttackRequest, json.loads(line)))))


@dataclass(kw_only=True, slots=True)
class _Count:
    n_acts: int = 0
    n_failed: int = 0
    # Until Python 3.12, wait_for can swallow the cancellation of its task.
    is_over: bool = False


async def _attack(target: Target, request: AttackRequest) -> Attacked:
    unknown = [name for name in request.names if name not in BY_NAME]
    if unknown or not request.names:
        raise WorkerFailed(f"expected attacks of {', '.join(BY_NAME)}, got {request.names}")
    attacks = [BY_NAME[name] for name in request.names]
    count = _Count()
    going = _mixed if request.acts_per_s else _flooding
    tasks = going(target, attacks, request, count)
    await asyncio.sleep(request.seconds)
    count.is_over = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Attacked(n_acts=count.n_acts, n_failed=count.n_failed)


def _flooding(
    target: Target, attacks: Sequence[Attack], _: AttackRequest, count: _Count
) -> list["asyncio.Task[None]"]:
    async def again_and_again(attack: Attack) -> None:
        while not count.is_over:
            await _act(target, attack, count)
            await asyncio.sleep(attack.pause_s)

    return [
        asyncio.create_task(again_and_again(attack))
        for attack in attacks
        for _ in range(attack.n_at_once)
    ]


def _mixed(
    target: Target, attacks: Sequence[Attack], request: AttackRequest, count: _Count
) -> list["asyncio.Task[None]"]:
    tasks: set[asyncio.Task[None]] = set()

    async def begin() -> None:
        for attack in cycle(attacks):
            if count.is_over:
                return
            if len(tasks) < _MAX_MIXED:
                task = asyncio.create_task(_act(target, attack, count))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(1 / request.acts_per_s)

    async def all_of_them() -> None:
        try:
            await begin()
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return [asyncio.create_task(all_of_them())]


async def _act(target: Target, attack: Attack, count: _Count) -> None:
    count.n_acts += 1
    try:
        await attack.act(target)
    # The server may end it in any way.
    except (OSError, EOFError, TimeoutError, asyncio.TimeoutError):
        count.n_failed += 1


if __name__ == "__main__":
    answer(serve, sys.stdin)
