"""A queue that loses nothing, bounds what waits, and lets callers take turns."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import Overloaded
from hazgate.serving.queue.backlog import Backlog, Limits, Waiting

REQUESTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.floats(0, 10)), max_size=40
)


def _waiting(
    item: int, caller: str = "a", n_tokens: int = 1, deadline_s: float = math.inf
) -> Waiting[int]:
    return Waiting(item=item, caller=caller, n_tokens=n_tokens, deadline_s=deadline_s)


def _filled(requests: list[tuple[str, int, float]], max_batch_tokens: int = 60) -> Backlog[int]:
    backlog: Backlog[int] = Backlog(Limits(max_batch_tokens=max_batch_tokens))
    for i, (caller, n_tokens, deadline_s) in enumerate(requests):
        backlog.add(_waiting(i, caller, n_tokens, deadline_s))
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
        ran += taken.batch
        expired += taken.expired
    assert sorted(ran + expired) == list(range(len(requests)))
    assert all(requests[i][2] <= now_s for i in expired)
    assert all(requests[i][2] > now_s for i in ran)
    assert backlog.n_tokens == 0


@given(callers=st.lists(st.sampled_from("abc"), max_size=30), n_tokens=st.integers(1, 9))
def test_what_is_said_to_be_ahead_is_what_runs_first(callers: list[str], n_tokens: int) -> None:
    backlog = _filled([(caller, n_tokens, 11.0) for caller in callers], max_batch_tokens=1)
    ahead = backlog.tokens_ahead("a")
    backlog.add(_waiting(len(callers), "a", n_tokens))
    ran: list[int] = []
    while len(callers) not in ran:
        ran += backlog.take(0.0).batch
    # Of those whose turn it may or may not be, one request each.
    assert abs(ahead / n_tokens - (len(ran) - 1)) <= 2


@given(requests=REQUESTS, budget=st.integers(1, 100))
def test_a_batch_keeps_its_budget_unless_one_request_alone_is_larger(
    requests: list[tuple[str, int, float]], budget: int
) -> None:
    backlog = _filled(requests, budget)
    while backlog.n_requests:
        batch = backlog.take(-1.0).batch
        n_tokens = sum(requests[i][1] for i in batch)
        assert n_tokens <= budget or len(batch) == 1


@given(requests=REQUESTS)
def test_a_callers_requests_keep_their_order(requests: list[tuple[str, int, float]]) -> None:
    order = _filled(requests).drain()
    for caller in "abc":
        own = [i for i in order if requests[i][0] == caller]
        assert own == sorted(own)


@given(n_first=st.integers(1, 30), n_second=st.integers(1, 30))
def test_callers_take_turns(n_first: int, n_second: int) -> None:
    backlog = _filled([("a", 1, 1.0)] * n_first + [("b", 1, 1.0)] * n_second, 1000)
    order = backlog.drain()
    turns = ["a" if i < n_first else "b" for i in order]
    both = 2 * min(n_first, n_second)
    assert turns[:both] == ["a", "b"] * (both // 2)


def test_what_would_be_answered_too_late_is_not_begun() -> None:
    backlog: Backlog[int] = Backlog(Limits(max_batch_tokens=100))
    for item, n_tokens, deadline_s in ((0, 10, 5.0), (1, 30, 5.0), (2, 10, 5.0), (3, 10, 99.0)):
        backlog.add(_waiting(item, n_tokens=n_tokens, deadline_s=deadline_s))
    # At a tenth of a second a token: 0 ends at 1 s, 1 would at 4 s, 2 at 5 s, 3 at any time.
    taken = backlog.take(0.0, 0.1)
    assert taken.batch == (0, 1, 3)
    assert taken.expired == (2,)


def test_turns_go_on_between_batches() -> None:
    backlog = _filled([("a", 30, 1.0)] * 3 + [("b", 30, 1.0)], 30)
    assert [backlog.take(-1.0).batch for _ in range(4)] == [(0,), (3,), (1,), (2,)]


def test_too_many_requests_are_refused_and_told_how_many() -> None:
    backlog: Backlog[int] = Backlog(Limits(max_queue_requests=2))
    backlog.add(_waiting(0))
    backlog.add(_waiting(1))
    with pytest.raises(Overloaded, match=r"2 requests of 2 tokens are .* at most 2 requests"):
        backlog.add(_waiting(2))
    assert (backlog.n_requests, backlog.n_tokens) == (2, 2)


def test_too_many_tokens_are_refused_unless_nothing_else_waits() -> None:
    backlog: Backlog[int] = Backlog(Limits(max_queue_tokens=10))
    backlog.add(_waiting(0, n_tokens=99))
    with pytest.raises(Overloaded, match="of 99 tokens are waiting and 1 tokens more came"):
        backlog.add(_waiting(1))
    assert backlog.take(0.0).batch == (0,)


@given(requests=REQUESTS, limit=st.integers(2, 12))
def test_a_flood_costs_its_sender_and_nobody_else(
    requests: list[tuple[str, int, float]], limit: int
) -> None:
    backlog: Backlog[int] = Backlog(Limits(max_queue_requests=limit))
    waiting: dict[int, str] = {}
    for i, (caller, n_tokens, _) in enumerate(requests):
        counts = {name: list(waiting.values()).count(name) for name in "abc"}
        try:
            out = backlog.add(_waiting(i, caller, n_tokens))
        except Overloaded:
            # Whoever is refused waits with as many as anyone, but for one request.
            assert len(waiting) == limit
            assert counts[caller] + 1 >= max(counts.values())
            continue
        for item in out:
            assert counts[waiting.pop(item)] > counts[caller] + 1
        waiting[i] = caller
        assert len(waiting) <= limit
    assert sorted(backlog.drain()) == sorted(waiting)


def test_room_is_made_for_many_tokens_by_the_newest_of_the_longest_queue() -> None:
    backlog: Backlog[int] = Backlog(Limits(max_queue_tokens=10))
    for i in range(5):
        assert backlog.add(_waiting(i, "a", 2)) == []
    assert backlog.add(_waiting(5, "b", 4)) == [4, 3]
    with pytest.raises(Overloaded):
        backlog.add(_waiting(6, "b", 8))
    assert sorted(backlog.drain()) == [0, 1, 2, 5]


@given(requests=REQUESTS.filter(bool), data=st.data())
def test_what_was_removed_never_runs(
    requests: list[tuple[str, int, float]], data: st.DataObject
) -> None:
    backlog = _filled(requests)
    # Identity tells requests apart: small integers are one object each.
    gone = data.draw(st.integers(0, len(requests) - 1))
    assert backlog.remove(gone)
    assert not backlog.remove(gone)
    assert sorted(backlog.drain()) == [i for i in range(len(requests)) if i != gone]
    assert (backlog.n_requests, backlog.n_tokens) == (0, 0)


@pytest.mark.parametrize("name", ["max_queue_requests", "max_queue_tokens", "max_batch_tokens"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Limits(**{name: 0})
