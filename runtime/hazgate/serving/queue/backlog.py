"""The queue: fair among callers, bounded, aware of deadlines. Pure: no thread, no clock."""

import math
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hazgate.errors import Overloaded
from hazgate.serving.queue.fair import FairQueue

# Fewer would make a batch of one short text.
_LEAST_BATCH_TOKENS = 64


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
        max_batch_s: a batch has fewer tokens where the engine would take longer than this for
            them, but at least 64. It is the time that a request waits for what runs already.
    """

    max_queue_requests: int = 1024
    max_queue_tokens: int = 262_144
    max_batch_tokens: int = 256
    max_batch_s: float = 0.02

    def __post_init__(self) -> None:
        for name in ("max_queue_requests", "max_queue_tokens", "max_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.max_batch_s > 0:
            raise ValueError(f"max_batch_s must be above 0, got {self.max_batch_s}")

    def batch_tokens(self, seconds_per_token: float) -> int:
        """Return the tokens of a batch at a pace; 0 is that of an engine that has not run yet."""
        in_time = self.max_batch_s / seconds_per_token if seconds_per_token else math.inf
        return int(min(self.max_batch_tokens, max(_LEAST_BATCH_TOKENS, in_time)))


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
    """Requests in the order of their callers' turns, which count tokens. Not thread-safe.

    A caller with a thousand requests, or with requests of a thousand times the tokens, delays
    another's first one by one request. See `FairQueue` for the order.
    """

    def __init__(self, limits: QueueLimits) -> None:
        """Start empty."""
        self.limits = limits
        self._queue: FairQueue[T] = FairQueue(limits.max_batch_tokens)
        self.n_tokens = 0

    @property
    def n_requests(self) -> int:
        """Number of requests that wait."""
        return len(self._queue)

    def apply(self, limits: QueueLimits) -> None:
        """Take other limits, for what comes from now on."""
        self.limits = limits
        self._queue.cut(limits.max_batch_tokens)

    def add(self, request: T) -> list[T]:
        """Append a request to its caller's queue.

        If the backlog is full, the newest requests of the caller that has most of what ran out
        (requests or tokens) are evicted, but only if that caller has more than this one: a flood
        costs its sender, not others.

        Returns:
            The evicted requests, so that the caller can refuse them.

        Raises:
            Overloaded: no caller has more waiting than this one; the message says how much waits.
        """
        evicted = self._to_evict(request)
        for each in evicted:
            self.remove(each)
        self._queue.append(request.caller, request, request.n_tokens)
        self.n_tokens += request.n_tokens
        return evicted

    def _to_evict(self, request: T) -> list[T]:
        """Return the newest requests of the largest callers, until there is room.

        Raises:
            Overloaded: there is no room, and no caller has taken more of it.
        """
        limits = self.limits
        n_requests, n_tokens = self.n_requests, self.n_tokens
        if (
            n_requests < limits.max_queue_requests
            and n_tokens + request.n_tokens <= limits.max_queue_tokens
        ):
            return []
        counts: dict[str, float] = dict(self._queue.counts())
        costs = dict(self._queue.costs)
        newest = {caller: self._queue.newest(caller) for caller in counts}
        evicted: list[T] = []
        while n_requests:
            if n_requests >= limits.max_queue_requests:
                taken, asked = counts, 1
            elif n_tokens + request.n_tokens > limits.max_queue_tokens:
                taken, asked = costs, request.n_tokens
            else:
                break
            largest = max(taken, key=taken.__getitem__)
            if taken[largest] <= taken.get(request.caller, 0) + asked:
                raise Overloaded(
                    f"{self.n_requests} requests of {self.n_tokens} tokens are waiting and "
                    f"{request.n_tokens} tokens more came; at most "
                    f"{limits.max_queue_requests} requests and "
                    f"{limits.max_queue_tokens} tokens may wait; retry later"
                )
            unlucky = next(newest[largest])
            counts[largest] -= 1
            costs[largest] -= unlucky.n_tokens
            n_requests -= 1
            n_tokens -= unlucky.n_tokens
            evicted.append(unlucky)
        return evicted

    def tokens_ahead(self, caller: str, *, is_short: bool = False) -> float:
        """Estimate the tokens that run before a request that this caller would add now.

        Args:
            caller: who would add it.
            is_short: it fits into a batch, so that long requests make way for it.
        """
        return self._queue.cost_ahead(caller, is_short=is_short)

    def take(self, now_s: float, seconds_per_token: float = 0.0) -> Taken[T]:
        """Remove the next batch: as many requests as the budget holds, and at least one.

        Requests that would be answered after their deadline are removed, too, and not run: under
        load, an answer that comes too late takes time that another request needed.

        Args:
            now_s: the time.
            seconds_per_token: the engine's expected time per token.
        """
        most = self.limits.batch_tokens(seconds_per_token)
        batch: list[T] = []
        expired: list[T] = []
        n_tokens = 0
        while (request := self._queue.first()) is not None:
            end_s = now_s + (n_tokens + request.n_tokens) * seconds_per_token
            late = request.deadline_s <= end_s
            if not late and batch and n_tokens + request.n_tokens > most:
                break
            # An expired request was no turn.
            self._queue.pop(served=not late)
            self.n_tokens -= request.n_tokens
            if late:
                expired.append(request)
            else:
                batch.append(request)
                n_tokens += request.n_tokens
        return Taken(batch=tuple(batch), expired=tuple(expired))

    def take_short(self, now_s: float, seconds_per_token: float = 0.0) -> Taken[T]:
        """Remove a batch for which a long request makes way; it may be empty.

        It has the first requests, in the order of turns, that fit into a batch together; longer
        ones are passed over, also those of the same caller.

        Args:
            now_s: as in `take`.
            seconds_per_token: as in `take`.
        """
        most = self.limits.batch_tokens(seconds_per_token)
        batch: list[T] = []
        expired: list[T] = []
        n_tokens = 0
        for _, request in self._queue.in_order():
            # One that fits into a batch by its tokens has been let in as short: it may go alone.
            room = most if batch else self.limits.max_batch_tokens
            if n_tokens + request.n_tokens > room:
                continue
            end_s = now_s + (n_tokens + request.n_tokens) * seconds_per_token
            if request.deadline_s <= end_s:
                expired.append(request)
                continue
            batch.append(request)
            n_tokens += request.n_tokens
            if n_tokens >= most:
                break
        for request in batch:
            self._queue.take(request.caller, request)
            self.n_tokens -= request.n_tokens
        for request in expired:
            self.remove(request)
        return Taken(batch=tuple(batch), expired=tuple(expired))

    def remove(self, request: T) -> bool:
        """Remove a request that nobody waits for any more; return False if it is not here."""
        if not self._queue.remove(request.caller, request):
            return False
        self.n_tokens -= request.n_tokens
        return True

    def rest(self) -> None:
        """Forget the tokens that callers had; for an engine that has nothing to do.

        Raises:
            ValueError: requests wait.
        """
        self._queue.rest()

    def drain(self) -> list[T]:
        """Remove everything and return it in the order in which it would have run."""
        requests: list[T] = []
        while self.n_requests:
            requests += self.take(-math.inf).batch
        return requests
