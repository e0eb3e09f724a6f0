"""Processors of a process and of those that it starts."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """The processors of what is measured, and of those that ask it."""

    measured: frozenset[int]
    askers: frozenset[int]


def shared_out() -> Shared:
    """Give the last processor to those that ask, and the others to what is measured.

    A machine with one processor gives it to both.
    """
    every = sorted(os.sched_getaffinity(0))
    return Shared(measured=frozenset(every[:-1] or every), askers=frozenset(every[-1:]))


@contextmanager
def pinned(processors: Collection[int]) -> Iterator[None]:
    """Pin this thread, and all that it starts in the block, to some processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
