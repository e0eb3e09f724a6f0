"""Who waits, and who is next. Pure: no thread, no clock of its own."""

import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hazgate.errors import Overloaded

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much may wait, and how much runs at a time.

    Attributes:
        max_queue_requests: more waiting requests than these are refused.
        max_queue_tokens: more waiting tokens than these are refused; a single request may be
            larger if nothing else waits.
        max_batch_tokens: requests join one run of the engine up to so many tokens. What arrives
            while it runs waits for its end, so fewer tokens answer sooner under load, and more
            answer more.
    """

    max_queue_requests: int = 1024
    max_queue_tokens: int = 65_536
    max_batch_tokens: int = 2048

    def __post_init__(self) -> None:
        for name in ("max_queue_requests", "max_queue_tokens", "max_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Waiting(Generic[T]):
    """One request in the backlog; `deadline_s` is a time of the clock that the caller uses."""

    item: T
    caller: str
    n_tokens: int
    deadline_s: float = math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken(Generic[T]):
    """What `Backlog.take` removed: what is to run now, and what was too late to run."""

    batch: tuple[T, ...]
    expired: tuple[T, ...]


class Backlog(Generic[T]):
    """Requests in the order of their callers' turns. Not thread-safe.

    Callers take turns, one request each, in the order in which they came to wait: a caller with a
    thousand requests delays another's first one by one request, not by a thousand.
    """

    def __init__(self, limits: Limits) -> None:
        """An empty backlog."""
        self._limits = limits
        self._queues: OrderedDict[str, deque[Waiting[T]]] = OrderedDict()
        self.n_requests = 0
        self.n_tokens = 0

    def add(self, request: Waiting[T]) -> None:
        """Takes a request in at the end of its caller's queue.

        Raises:
            Overloaded: too much waits already; says of what, and how much.
        """
        if self.n_requests >= self._limits.max_queue_requests:
            raise Overloaded(
                f"{self.n_requests} requests are waiting, at most "
                f"{self._limits.max_queue_requests} may; retry later"
            )
        if self.n_requests and self.n_tokens + request.n_tokens > self._limits.max_queue_tokens:
            raise Overloaded(
                f"{self.n_tokens} tokens are waiting and {request.n_tokens} more came, at most "
                f"{self._limits.max_queue_tokens} may; retry later"
            )
        self._queues.setdefault(request.caller, deque()).append(request)
        self._count(request, 1)

    def take(self, now_s: float) -> Taken[T]:
        """Removes the next batch: as many requests as the budget holds, and one in any case.

        Requests whose deadline has passed are removed on the way and cost nothing.
        """
        batch: list[T] = []
        expired: list[T] = []
        n_tokens = 0
        while self._queues:
            caller, queue = next(iter(self._queues.items()))
            request = queue[0]
            late = request.deadline_s <= now_s
            if not late and batch and n_tokens + request.n_tokens > self._limits.max_batch_tokens:
                break
            queue.popleft()
            self._count(request, -1)
            if late:
                expired.append(request.item)
            else:
                batch.append(request.item)
                n_tokens += request.n_tokens
                # The caller's turn is over; an expired request was no turn.
                self._queues.move_to_end(caller)
            if not queue:
                del self._queues[caller]
        return Taken(batch=tuple(batch), expired=tuple(expired))

    def remove(self, item: T) -> bool:
        """Takes a request out that nobody waits for any more; False if it is not here."""
        for caller, queue in self._queues.items():
            for request in queue:
                if request.item is item:
                    queue.remove(request)
                    self._count(request, -1)
                    if not queue:
                        del self._queues[caller]
                    return True
        return False

    def drain(self) -> Iterable[T]:
        """Removes everything, in the order in which it would have run."""
        items: list[T] = []
        while self._queues:
            items += self.take(-math.inf).batch
        return items

    def _count(self, request: Waiting[T], sign: int) -> None:
        self.n_requests += sign
        self.n_tokens += sign * request.n_tokens
