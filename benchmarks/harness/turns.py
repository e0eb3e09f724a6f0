"""The order of turns: rounds in which every system runs every workload once, shuffled."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One system's run of one workload; rounds count from 0."""

    round: int
    workload: str
    system: str


def plan_turns(
    systems: Sequence[str], workloads: Sequence[str], *, rounds: int, seed: int
) -> list[Turn]:
    """Return all turns in the order in which they are taken.

    Systems that are compared run right after one another, in another order each time, so that
    neither a slow minute of the machine nor a predecessor's heat hits the same one always.

    Returns:
        For each round and each workload, in order, one turn of every system in random order.
    """
    order = random.Random(seed)  # noqa: S311 - a schedule, no secret
    return [
        Turn(round=n, workload=workload, system=system)
        for n in range(rounds)
        for workload in workloads
        for system in order.sample(list(systems), len(systems))
    ]
