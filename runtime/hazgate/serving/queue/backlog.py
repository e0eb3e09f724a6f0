"""The queue: fair among callers, bounded, aware of deadlines. Pure: no thread, no clock."""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hazgate.errors import Overloaded


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueLimits:
    """Limits of what may wait, and of what runs at a time.

    Attributes:
        max_queue_requests: a request is refused if this many wait already.
        max_queue_tokens: a request is refused if the waiting tokens would exceed this; a single
            request may be larger if nothing else waits.
        max_batch_tokens: requests join one batch of the engine up to this many tokens. A batch's
            requests are all answered at its end, and new requests wait for it. On a CPU a batch
            is hardly quicker than its texts one by one, so it should be short; on a GPU, as large
            as fits.
    """

    max_queue_requests: int = 1024
    max_queue_tokens: int = 262_144
    max_batch_tokens: int = 256

    def __post_init__(self) -> None:
        for name in ("max_queue_requests", "max_queue_tokens", "max_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Queueable(Protocol):
    """A request in the backlog; `deadline_s` is a time of the clock that `take` is given."""

    @property
    def caller(self) -> str:
        """The caller in whose turn it runs."""

    @property
    def n_tokens(self) -> int:
        """Tokens that the engine reads of it."""

    @property
    def deadline_s(self) -> float:
        """The time after which its answer is of no use."""


T = TypeVar("T", bound=Queueable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken(Generic[T]):
    """Requests that `Backlog.take` removed: those to run now, and those too late to run."""

    batch: tuple[T, ...]
    expired: tuple[T, ...]


class Backlog(Generic[T]):
    """Requests in the order of their callers' turns. Not thread-safe.

    Callers take turns, one request each, in the order in which they came to wait: a caller with a
    thousand requests delays another's first one by one request, not by a thousand.
    """

    def __init__(self, limits: QueueLimits) -> None:
        """Start empty."""
        self._limits = limits
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self.n_requests = 0
        self.n_tokens = 0

    def add(self, request: T) -> list[T]:
        """Append a request to its caller's queue.

        If the backlog is full, the newest requests of the callers with most requests are evicted,
        but only from callers that have more than this one: a flood costs its sender, not others.

        Returns:
            The evicted requests, so that the caller can refuse them.

        Raises:
            Overloaded: no caller has more waiting than this one; the message says how much waits.
        """
        evicted = self._to_evict(request)
        for each in evicted:
            queue = self._queues[each.caller]
            queue.pop()
            self._count(each, -1)
            if not queue:
                del self._queues[each.caller]
        self._queues.setdefault(request.caller, deque()).append(request)
        self._count(request, 1)
        return evicted

    def _to_evict(self, request: T) -> list[T]:
        """Return the newest of the longest queues, until there is room; change nothing.

        Raises:
            Overloaded: there is no room, and no caller has taken more of it.
        """
        n_waiting = {caller: len(queue) for caller, queue in self._queues.items()}
        n_own = n_waiting.get(request.caller, 0)
        n_requests, n_tokens = self.n_requests, self.n_tokens
        evicted: list[T] = []
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
            evicted.append(newest)
        return evicted

    def tokens_ahead(self, caller: str) -> float:
        """Estimate the tokens that run before a request that this caller would add now.

        A caller's queue runs one request a turn: each other caller goes first with as many
        requests as this one has waiting, plus one.
        """
        if not self.n_requests:
            return 0.0
        n_own = len(self._queues.get(caller, ()))
        n_ahead = sum(min(len(queue), n_own + 1) for queue in self._queues.values())
        return self.n_tokens * n_ahead / self.n_requests

    def take(self, now_s: float, seconds_per_token: float = 0.0) -> Taken[T]:
        """Remove the next batch: as many requests as the budget holds, and at least one.

        Requests that would be answered after their deadline are removed, too, and not run: under
        load, an answer that comes too late takes time that another request needed.

        Args:
            now_s: the time.
            seconds_per_token: the engine's expected time per token.
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
                expired.append(request)
            else:
                batch.append(request)
                n_tokens += request.n_tokens
                # The caller's turn is over; an expired request was no turn.
                self._queues.move_to_end(caller)
            if not queue:
                del self._queues[caller]
        return Taken(batch=tuple(batch), expired=tuple(expired))

    def remove(self, request: T) -> bool:
        """Remove a request that nobody waits for any more; return False if it is not here."""
        queue = self._queues.get(request.caller, ())
        for i, each in enumerate(queue):
            if each is request:
                del self._queues[request.caller][i]
                self._count(request, -1)
                if not self._queues[request.caller]:
                    del self._queues[request.caller]
                return True
        return False

    def drain(self) -> list[T]:
        """Remove everything and return it in the order in which it would have run."""
        requests: list[T] = []
        while self._queues:
            requests += self.take(-math.inf).batch
        return requests

    def _count(self, request: T, sign: int) -> None:
        self.n_requests += sign
        self.n_tokens += sign * request.n_tokens
