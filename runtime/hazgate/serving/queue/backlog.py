"""Who waits, and who is next. Pure: no thread, no clock of its own."""

import math
from collections import OrderedDict, deque
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
        max_batch_tokens: requests join one batch of the engine up to so many tokens. All of a
            batch are answered at its end, and what arrives meanwhile waits for it. On a CPU a
            batch is hardly quicker than its texts one by one, so it should be short; on a GPU,
            as large as fits.
    """

    max_queue_requests: int = 1024
    max_queue_tokens: int = 65_536
    max_batch_tokens: int = 256

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

    def add(self, request: Waiting[T]) -> list[T]:
        """Takes a request in at the end of its caller's queue.

        Where that is too much, the newest requests of whoever waits with most are put out, as long
        as they are more than this caller's own: a flood costs its sender, not the others.

        Returns:
            What was put out, to be told so.

        Raises:
            Overloaded: no caller waits with more than this one; says of what, and how much.
        """
        out = self._to_put_out(request)
        for each in out:
            queue = self._queues[each.caller]
            queue.pop()
            self._count(each, -1)
            if not queue:
                del self._queues[each.caller]
        self._queues.setdefault(request.caller, deque()).append(request)
        self._count(request, 1)
        return [each.item for each in out]

    def _to_put_out(self, request: Waiting[T]) -> list[Waiting[T]]:
        """The newest of the longest queues, until there is room; changes nothing.

        Raises:
            Overloaded: there is no room, and nobody who has taken more of it.
        """
        n_waiting = {caller: len(queue) for caller, queue in self._queues.items()}
        n_own = n_waiting.get(request.caller, 0)
        n_requests, n_tokens = self.n_requests, self.n_tokens
        out: list[Waiting[T]] = []
        while n_requests and (
            n_requests >= self._limits.max_queue_requests
            or n_tokens + request.n_tokens > self._limits.max_queue_tokens
        ):
            longest = max(n_waiting, key=n_waiting.__getitem__)
            if n_waiting[longest] <= n_own + 1:
                raise Overloaded(
                    f"{self.n_requests} requests of {self.n_tokens} tokens are waiting and "
                    f"{request.n_tokens} tokens more came; at most "
                    f"{self._limits.max_queue_requests} requests and "
                    f"{self._limits.max_queue_tokens} tokens may wait; retry later"
                )
            n_waiting[longest] -= 1
            newest = self._queues[longest][n_waiting[longest]]
            n_requests -= 1
            n_tokens -= newest.n_tokens
            out.append(newest)
        return out

    def tokens_ahead(self, caller: str) -> float:
        """About how many tokens run before a request that this caller would add now.

        A caller's queue runs one request a turn: of each other caller as many come first as this
        one has waiting, and one more.
        """
        if not self.n_requests:
            return 0.0
        n_own = len(self._queues.get(caller, ()))
        n_ahead = sum(min(len(queue), n_own + 1) for queue in self._queues.values())
        return self.n_tokens * n_ahead / self.n_requests

    def take(self, now_s: float, seconds_per_token: float = 0.0) -> Taken[T]:
        """Removes the next batch: as many requests as the budget holds, and one in any case.

        Requests that would be answered after their deadline are removed on the way and cost
        nothing: under load, an answer that comes too late is work that another needed.

        Args:
            now_s: the time.
            seconds_per_token: what the engine is expected to take.
        """
        batch: list[T] = []
        expired: list[T] = []
        n_tokens = 0
        while self._queues:
            caller, queue = next(iter(self._queues.items()))
            request = queue[0]
            end_s = now_s + (n_tokens + request.n_tokens) * seconds_per_token
            late = request.deadline_s <= end_s
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

    def drain(self) -> list[T]:
        """Removes everything, in the order in which it would have run."""
        items: list[T] = []
        while self._queues:
            items += self.take(-math.inf).batch
        return items

    def _count(self, request: Waiting[T], sign: int) -> None:
        self.n_requests += sign
        self.n_tokens += sign * request.n_tokens
