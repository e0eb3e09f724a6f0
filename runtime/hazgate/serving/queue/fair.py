"""A queue in which callers take turns by the cost of their work. Pure: no thread, no clock.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each item starts, in virtual time,
when its caller's last one ended, and the item with the earliest start comes first. A caller whose
items cost a thousand times as much gets a thousandth of the turns.
"""

import heapq
import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

# Callers without items whose cost is remembered.
_MAX_IDLE_CALLERS = 1024


class FairQueue(Generic[T]):
    """Items in the order of their callers' turns; a caller's own keep their order.

    A caller without items still owes for those it had, until `rest`. Not thread-safe.
    """

    def __init__(self, piece: float = math.inf) -> None:
        """Start empty; an item of up to `piece` lets no more than that of another go first."""
        self._piece = piece
        self._queues: dict[str, deque[tuple[T, float]]] = {}
        self._costs: dict[str, float] = {}
        # The same with each item's cost up to `piece`.
        self._costs_of_first_pieces: dict[str, float] = {}
        # The virtual time at which a caller's first item starts; without items, its next one.
        self._starts: dict[str, float] = {}
        # A (start, number, caller) for each caller with items, and stale ones.
        self._heap: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._now = 0.0
        self._n_items = 0

    def __len__(self) -> int:
        return self._n_items

    @property
    def costs(self) -> Mapping[str, float]:
        """Total cost of each caller's items; only callers with items."""
        return self._costs

    def counts(self) -> dict[str, int]:
        """Count the items of each caller that has any."""
        return {caller: len(queue) for caller, queue in self._queues.items()}

    def newest(self, caller: str) -> Iterator[T]:
        """Yield a caller's items, the newest first."""
        return (item for item, _ in reversed(self._queues.get(caller, ())))

    def append(self, caller: str, item: T, cost: float) -> None:
        """Add an item behind its caller's others; `cost` is at least 0."""
        queue = self._queues.get(caller)
        if queue is None:
            self._queues[caller] = deque([(item, cost)])
            self._costs[caller] = cost
            self._costs_of_first_pieces[caller] = min(cost, self._piece)
            self._start(caller, max(self._now, self._starts.get(caller, 0.0)))
        else:
            queue.append((item, cost))
            self._costs[caller] += cost
            self._costs_of_first_pieces[caller] += min(cost, self._piece)
        self._n_items += 1

    def first(self) -> T | None:
        """Return the item whose turn it is, or None if there is none."""
        caller = self._first_caller()
        return None if caller is None else self._queues[caller][0][0]

    def pop(self, *, served: bool = True) -> T:
        """Remove the item whose turn it is.

        Args:
            served: the caller pays for it; False for an item that was dropped undone.

        Raises:
            IndexError: the queue is empty.
        """
        caller = self._first_caller()
        if caller is None:
            raise IndexError("the queue is empty")
        item, cost = self._queues[caller].popleft()
        start = self._starts[caller]
        if served:
            self._now = max(self._now, start)
        self._removed(caller, cost)
        self._start(caller, start + cost if served else start)
        return item

    def in_order(self) -> Iterator[tuple[str, T]]:
        """Yield callers and items in the order of turns, each caller's one behind another.

        It is not the order in which they run, for a caller's first item changes its next turn. The
        queue must not change meanwhile.
        """
        for caller in sorted(self._queues, key=self._starts.__getitem__):
            for item, _ in self._queues[caller]:
                yield caller, item

    def take(self, caller: str, item: T) -> None:
        """Remove an item out of its turn, for which its caller pays.

        Raises:
            KeyError: it is not here.
        """
        cost = self._cost_of(caller, item)
        self.remove(caller, item)
        self._start(caller, self._starts[caller] + cost)

    def remove(self, caller: str, item: T) -> bool:
        """Remove an item that is no longer wanted; return False if it is not here."""
        queue = self._queues.get(caller, deque())
        for i in range(len(queue) - 1, -1, -1):
            if queue[i][0] is item:
                cost = queue[i][1]
                del queue[i]
                self._removed(caller, cost)
                return True
        return False

    def rest(self) -> None:
        """Forget what callers had; for a time in which nothing waits and nothing runs.

        Raises:
            ValueError: items wait.
        """
        if self._n_items:
            raise ValueError(f"{self._n_items} items wait")
        self._starts.clear()
        self._heap.clear()
        self._now = 0.0

    def cut(self, piece: float) -> None:
        """Take another size of pieces."""
        self._piece = piece
        self._costs_of_first_pieces = {
            caller: sum(min(cost, piece) for _, cost in queue)
            for caller, queue in self._queues.items()
        }

    def cost_ahead(self, caller: str, *, is_short: bool = False) -> float:
        """Return the cost of the items that come before one that this caller would add now.

        Args:
            caller: who would add it.
            is_short: it is no longer than a piece.
        """
        piece = self._piece if is_short else math.inf
        own = (self._costs_of_first_pieces if is_short else self._costs).get(caller, 0.0)
        start = max(self._now, self._starts.get(caller, 0.0)) + own
        ahead = own
        for other, queue in self._queues.items():
            lead = start - self._starts[other]
            if other != caller and lead >= 0:
                # An item that starts before `start` runs to its end.
                ahead += min(self._costs[other], lead + min(queue[0][1], piece))
        return ahead

    def _cost_of(self, caller: str, item: T) -> float:
        for each, cost in self._queues.get(caller, ()):
            if each is item:
                return cost
        raise KeyError(f"caller {caller!r} has no such item")

    def _first_caller(self) -> str | None:
        while self._heap:
            start, _, caller = self._heap[0]
            if caller in self._queues and self._starts[caller] == start:
                return caller
            heapq.heappop(self._heap)
        return None

    def _start(self, caller: str, start: float) -> None:
        """Set the start of a caller's next item, and give it a turn if it has one."""
        self._starts[caller] = start
        if caller in self._queues:
            heapq.heappush(self._heap, (start, next(self._numbers), caller))
        elif len(self._starts) > len(self._queues) + _MAX_IDLE_CALLERS:
            self._forget_idle()

    def _forget_idle(self) -> None:
        """Move the time on, so that half of the callers without items owe nothing more."""
        idle = [start for caller, start in self._starts.items() if caller not in self._queues]
        self._now = max(self._now, statistics.median_high(idle))
        self._starts = {
            caller: start
            for caller, start in self._starts.items()
            if caller in self._queues or start > self._now
        }

    def _removed(self, caller: str, cost: float) -> None:
        self._n_items -= 1
        self._costs[caller] -= cost
        self._costs_of_first_pieces[caller] -= min(cost, self._piece)
        if not self._queues[caller]:
            del self._queues[caller]
            del self._costs[caller]
            del self._costs_of_first_pieces[caller]
