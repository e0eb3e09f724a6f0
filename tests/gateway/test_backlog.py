"""The queue loses nothing, bounds what waits, and lets callers take turns."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import Overloaded
from hazgate.serving.queue.backlog import Backlog, QueueLimits
from hazgate.serving.queue.fair import FairQueue

REQUESTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.floats(0, 10)), max_size=40
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Queued:
    number: int
    caller: str
    n_tokens: int
    deadline_s: float


def _queued(
    number: int, caller: str = "a", n_tokens: int = 1, deadline_s: float = math.inf
) -> _Queued:
    return _Queued(number=number, caller=caller, n_tokens=n_tokens, deadline_s=deadline_s)


def _numbers(requests: Iterable[_Queued]) -> list[int]:
    return [request.number for request in requests]


def _empty(limits: QueueLimits) -> Backlog[_Queued]:
    return Backlog(limits)


def _filled(requests: list[tuple[str, int, float]], max_batch_tokens: int = 60) -> Backlog[_Queued]:
    backlog = _empty(QueueLimits(max_batch_tokens=max_batch_tokens))
    for i, (caller, n_tokens, deadline_s) in enumerate(requests):
        backlog.add(_queued(i, caller, n_tokens, deadline_s))
    return backlog


@given(requests=REQUESTS, now_s=st.floats(0, 10))
def test_every_request_runs_once_or_has_expired(
    requests: list[tuple[str, int, float]], now_s: float
) -> None:
    backlog = _filled(requests)
    ran: list[int] = []
    expired: list[int] = []
    while backlog.n_requests:
        taken = backlog.take(now_s)
        assert taken.batch or taken.expired
        ran += _numbers(taken.batch)
        expired += _numbers(taken.expired)
    assert sorted(ran + expired) == list(range(len(requests)))
    assert all(requests[i][2] <= now_s for i in expired)
    assert all(requests[i][2] > now_s for i in ran)
    assert backlog.n_tokens == 0


@given(callers=st.lists(st.sampled_from("abc"), max_size=30), n_tokens=st.integers(1, 9))
def test_the_estimate_of_tokens_ahead_is_close_to_what_runs_first(
    callers: list[str], n_tokens: int
) -> None:
    backlog = _filled([(caller, n_tokens, 11.0) for caller in callers], max_batch_tokens=1)
    ahead = backlog.tokens_ahead("a")
    backlog.add(_queued(len(callers), "a", n_tokens))
    ran: list[int] = []
    while len(callers) not in ran:
        ran += _numbers(backlog.take(0.0).batch)
    # Two callers may each have one more or one fewer turn before it.
    assert abs(ahead / n_tokens - (len(ran) - 1)) <= 2


@given(requests=REQUESTS, budget=st.integers(1, 100))
def test_a_batch_keeps_its_budget_unless_one_request_alone_is_larger(
    requests: list[tuple[str, int, float]], budget: int
) -> None:
    backlog = _filled(requests, budget)
    while backlog.n_requests:
        batch = _numbers(backlog.take(-1.0).batch)
        n_tokens = sum(requests[i][1] for i in batch)
        assert n_tokens <= budget or len(batch) == 1


@given(requests=REQUESTS)
def test_a_callers_requests_keep_their_order(requests: list[tuple[str, int, float]]) -> None:
    order = _numbers(_filled(requests).drain())
    for caller in "abc":
        own = [i for i in order if requests[i][0] == caller]
        assert own == sorted(own)


@given(n_first=st.integers(1, 30), n_second=st.integers(1, 30))
def test_callers_take_turns(n_first: int, n_second: int) -> None:
    backlog = _filled([("a", 1, 1.0)] * n_first + [("b", 1, 1.0)] * n_second, 1000)
    order = _numbers(backlog.drain())
    turns = ["a" if i < n_first else "b" for i in order]
    both = 2 * min(n_first, n_second)
    assert turns[:both] == ["a", "b"] * (both // 2)


def test_turns_are_counted_in_tokens() -> None:
    backlog = _filled([("a", 1000, 1.0)] * 3 + [("b", 10, 1.0)] * 150, max_batch_tokens=1)
    order = _numbers(backlog.drain())
    # While one text of a runs, all of b's hundred come to have as many tokens.
    assert [order.index(i) for i in range(3)] == [0, 101, 152]


@given(requests=REQUESTS.filter(bool))
def test_no_caller_that_waits_gets_less_than_another_by_more_than_one_request(
    requests: list[tuple[str, int, float]],
) -> None:
    backlog = _filled([(caller, n, math.inf) for caller, n, _ in requests], max_batch_tokens=1)
    largest = max(n for _, n, _ in requests)
    left = {caller: sum(1 for name, _, _ in requests if name == caller) for caller in "abc"}
    had = dict.fromkeys("abc", 0)
    while backlog.n_requests:
        (number,) = _numbers(backlog.take(0.0).batch)
        caller, n_tokens, _ = requests[number]
        waiting = [had[name] for name in "abc" if left[name]]
        assert had[caller] <= min(waiting) + largest
        had[caller] += n_tokens
        left[caller] -= 1


def test_a_caller_that_pauses_pays_for_what_it_had() -> None:
    backlog = _filled([("a", 100, 1.0), ("b", 1, 1.0), ("b", 1, 1.0)], max_batch_tokens=1)
    assert _numbers(backlog.take(-1.0).batch) == [0]
    backlog.add(_queued(3, "a", 100))
    assert _numbers(backlog.drain()) == [1, 2, 3]


def test_an_engine_at_rest_forgets_what_callers_had() -> None:
    backlog = _filled([("a", 100, 1.0)], max_batch_tokens=1)
    backlog.take(-1.0)
    backlog.rest()
    backlog.add(_queued(1, "a", 10))
    backlog.add(_queued(2, "b", 10))
    with pytest.raises(ValueError, match="2 items wait"):
        backlog.rest()
    assert _numbers(backlog.drain()) == [1, 2]


def test_callers_that_come_once_leave_nothing_behind() -> None:
    queue: FairQueue[int] = FairQueue()
    for i in range(20_000):
        queue.append(f"caller {i}", i, 5.0)
        assert queue.pop() == i
    assert len(queue._starts) <= 1025
    queue.append("a", 0, 5.0)
    queue.append("a", 1, 5.0)
    queue.append("new", 2, 5.0)
    assert [queue.pop() for _ in range(3)] == [0, 2, 1]


def test_one_callers_long_texts_make_room_for_anothers_short_one() -> None:
    backlog = _empty(QueueLimits(max_queue_tokens=1000))
    for i in range(2):
        backlog.add(_queued(i, "a", 500))
    assert _numbers(backlog.add(_queued(2, "b", 10))) == [1]


def test_a_request_that_would_be_answered_too_late_is_not_run() -> None:
    backlog = _empty(QueueLimits(max_batch_tokens=100))
    for number, n_tokens, deadline_s in ((0, 10, 5.0), (1, 30, 5.0), (2, 10, 5.0), (3, 10, 99.0)):
        backlog.add(_queued(number, n_tokens=n_tokens, deadline_s=deadline_s))
    # At a tenth of a second a token: 0 ends at 1 s, 1 would at 4 s, 2 at 5 s, 3 at any time.
    taken = backlog.take(0.0, 0.1)
    assert _numbers(taken.batch) == [0, 1, 3]
    assert _numbers(taken.expired) == [2]


def test_turns_go_on_between_batches() -> None:
    backlog = _filled([("a", 30, 1.0)] * 3 + [("b", 30, 1.0)], 30)
    assert [_numbers(backlog.take(-1.0).batch) for _ in range(4)] == [[0], [3], [1], [2]]


def test_too_many_requests_are_refused_with_their_number() -> None:
    backlog = _empty(QueueLimits(max_queue_requests=2))
    backlog.add(_queued(0))
    backlog.add(_queued(1))
    with pytest.raises(Overloaded, match=r"2 requests of 2 tokens are .* at most 2 requests"):
        backlog.add(_queued(2))
    assert (backlog.n_requests, backlog.n_tokens) == (2, 2)


def test_too_many_tokens_are_refused_unless_nothing_else_waits() -> None:
    backlog = _empty(QueueLimits(max_queue_tokens=10))
    backlog.add(_queued(0, n_tokens=99))
    with pytest.raises(Overloaded, match="of 99 tokens are waiting and 1 tokens more came"):
        backlog.add(_queued(1))
    assert _numbers(backlog.take(0.0).batch) == [0]


@given(requests=REQUESTS, limit=st.integers(2, 12))
def test_a_flood_costs_its_sender_and_nobody_else(
    requests: list[tuple[str, int, float]], limit: int
) -> None:
    backlog = _empty(QueueLimits(max_queue_requests=limit))
    waiting: dict[int, str] = {}
    for i, (caller, n_tokens, _) in enumerate(requests):
        counts = {name: list(waiting.values()).count(name) for name in "abc"}
        try:
            evicted = backlog.add(_queued(i, caller, n_tokens))
        except Overloaded:
            # A refused caller has as many requests waiting as any other, give or take one.
            assert len(waiting) == limit
            assert counts[caller] + 1 >= max(counts.values())
            continue
        for number in _numbers(evicted):
            assert counts[waiting.pop(number)] > counts[caller] + 1
        waiting[i] = caller
        assert len(waiting) <= limit
    assert sorted(_numbers(backlog.drain())) == sorted(waiting)


def test_room_is_made_for_many_tokens_by_the_newest_of_the_longest_queue() -> None:
    backlog = _empty(QueueLimits(max_queue_tokens=10))
    for i in range(5):
        assert backlog.add(_queued(i, "a", 2)) == []
    assert _numbers(backlog.add(_queued(5, "b", 4))) == [4, 3]
    with pytest.raises(Overloaded):
        backlog.add(_queued(6, "b", 8))
    assert sorted(_numbers(backlog.drain())) == [0, 1, 2, 5]


@given(requests=REQUESTS.filter(bool), data=st.data())
def test_a_removed_request_never_runs(
    requests: list[tuple[str, int, float]], data: st.DataObject
) -> None:
    backlog = _empty(QueueLimits())
    queued = [_queued(i, *request) for i, request in enumerate(requests)]
    for each in queued:
        backlog.add(each)
    gone = data.draw(st.integers(0, len(requests) - 1))
    assert backlog.remove(queued[gone])
    assert not backlog.remove(queued[gone])
    assert sorted(_numbers(backlog.drain())) == [i for i in range(len(requests)) if i != gone]
    assert (backlog.n_requests, backlog.n_tokens) == (0, 0)


@pytest.mark.parametrize("name", ["max_queue_requests", "max_queue_tokens", "max_batch_tokens"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        QueueLimits(**{name: 0})


@given(requests=REQUESTS, now_s=st.floats(0, 10), budget=st.integers(1, 60))
def test_way_is_made_for_whole_batches_of_short_requests_only(
    requests: list[tuple[str, int, float]], now_s: float, budget: int
) -> None:
    backlog = _filled(requests, budget)
    taken = backlog.take_short(now_s)
    batch, expired = set(_numbers(taken.batch)), set(_numbers(taken.expired))
    assert sum(requests[i][1] for i in batch) <= budget
    assert all(requests[i][2] > now_s for i in batch)
    assert all(requests[i][2] <= now_s for i in expired)
    assert backlog.n_requests == len(requests) - len(batch | expired)
    assert backlog.n_tokens == sum(
        n_tokens for i, (_, n_tokens, _) in enumerate(requests) if i not in batch | expired
    )
    # A short one that stays has no room beside those that go.
    room = budget - sum(requests[i][1] for i in batch)
    stay = [i for i in range(len(requests)) if i not in batch | expired]
    assert all(requests[i][1] > room for i in stay) or not batch
    assert batch or all(requests[i][1] > budget for i in stay)
    rest: list[int] = []
    while backlog.n_requests:
        rest += _numbers(backlog.take(-1.0).batch)
    assert sorted(rest) == stay


def test_a_request_that_others_made_way_for_is_its_callers_turn() -> None:
    backlog = _filled([("a", 100, 11.0), ("a", 10, 11.0), ("b", 10, 11.0), ("b", 10, 11.0)], 20)
    assert _numbers(backlog.take(0.0).batch) == [0]
    assert _numbers(backlog.take_short(0.0).batch) == [2, 3]
    assert _numbers(backlog.take_short(0.0).batch) == [1]
    backlog.add(_queued(4, "b", 20))
    backlog.add(_queued(5, "c", 20))
    assert _numbers(backlog.take(0.0).batch) == [5]


def test_of_a_long_request_ahead_a_short_one_counts_one_piece() -> None:
    backlog = _filled([("a", 1000, 11.0), ("a", 10, 11.0)], 50)
    assert backlog.tokens_ahead("b") == pytest.approx(1000)
    assert backlog.tokens_ahead("b", is_short=True) == pytest.approx(50)
    assert backlog.tokens_ahead("a", is_short=True) == pytest.approx(60)


@given(sizes=st.lists(st.integers(1, 100), max_size=20), gone=st.data(), other=st.integers(1, 60))
def test_what_a_caller_has_ahead_of_itself_is_counted_in_pieces_of_the_present_limits(
    sizes: list[int], gone: st.DataObject, other: int
) -> None:
    requests = [_queued(i, "a", n) for i, n in enumerate(sizes)]
    backlog = _empty(QueueLimits(max_batch_tokens=30))
    for request in requests:
        backlog.add(request)
    stay = [request for request in requests if gone.draw(st.booleans())]
    for request in requests:
        if request not in stay:
            backlog.remove(request)
    assert backlog.tokens_ahead("a", is_short=True) == sum(min(30, one.n_tokens) for one in stay)
    backlog.apply(QueueLimits(max_batch_tokens=other))
    assert backlog.tokens_ahead("a", is_short=True) == sum(min(other, one.n_tokens) for one in stay)
    assert backlog.tokens_ahead("a") == sum(one.n_tokens for one in stay)


@given(
    seconds_per_token=st.floats(0, 1), max_batch_s=st.floats(1e-4, 10), most=st.integers(1, 5000)
)
def test_a_batch_takes_no_longer_than_its_time_unless_it_has_few_tokens(
    seconds_per_token: float, max_batch_s: float, most: int
) -> None:
    limits = QueueLimits(max_batch_tokens=most, max_batch_s=max_batch_s)
    n_tokens = limits.batch_tokens(seconds_per_token)
    assert 1 <= n_tokens <= most
    assert n_tokens <= 64 or n_tokens * seconds_per_token <= max_batch_s
    # And one token more would be too many, or too late.
    assert n_tokens == most or (n_tokens + 1) * seconds_per_token > max_batch_s


def test_a_slow_engine_takes_smaller_batches_and_makes_way_with_smaller_ones() -> None:
    requests = [("a", 50, math.inf)] * 12
    for take in ("take", "take_short"):
        backlog = _empty(QueueLimits(max_batch_tokens=250, max_batch_s=0.1))
        for i, request in enumerate(requests):
            backlog.add(_queued(i, *request))
        sizes = [len(getattr(backlog, take)(0.0, pace).batch) for pace in (0.0, 0.0005, 0.001, 1.0)]
        assert sizes == [5, 4, 2, 1]


@pytest.mark.parametrize("max_batch_s", [0.0, -1.0, math.nan])
def test_a_batch_has_some_time(max_batch_s: float) -> None:
    with pytest.raises(ValueError, match="max_batch_s must be above 0"):
        QueueLimits(max_batch_s=max_batch_s)


def test_a_short_text_passes_a_long_one_alone_where_a_slow_engines_batch_is_smaller() -> None:
    backlog = _empty(QueueLimits(max_batch_tokens=250, max_batch_s=0.1))
    for i, n_tokens in enumerate((251, 200, 50)):
        backlog.add(_queued(i, "a", n_tokens, math.inf))
    assert _numbers(backlog.take_short(0.0, 0.001).batch) == [1]
    assert _numbers(backlog.take_short(0.0, 0.001).batch) == [2]
    assert not backlog.take_short(0.0, 0.001).batch
