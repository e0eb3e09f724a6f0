"""One engine for many threads: right answers, bounded waiting, nothing lost or mixed up."""

import dataclasses
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest

from hazgate import DeadlineExceeded, Gate, InferenceError, InputError, Overloaded, Verdict
from hazgate.judge import verdict_of
from hazgate.questions import Question
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.queue.engine_thread import BatchFacts
from tests.support.sessions import Held, held_gate

MARKER = "unrepeatable"


def _submit(batcher: Batcher, text: str, **options: Any) -> "Future[Verdict]":  # noqa: ANN401
    (future,) = batcher.submit(Ask(texts=[text], **options))
    return cast("Future[Verdict]", future)


@contextmanager
def _busy(gate: Gate, **options: Any) -> Iterator[tuple[Batcher, Held]]:  # noqa: ANN401
    """Yield a batcher whose engine is busy with a text of its own until `go` is set."""
    held, session = held_gate(gate)
    batcher = Batcher(held, **options)
    _submit(batcher, "good good good")
    assert session.running.wait(20)
    try:
        yield batcher, session
    finally:
        session.go.set()
        batcher.close(20)


def _await_waiting(batcher: Batcher, n_requests: int) -> None:
    """Wait until so many requests are in the queue; tokenising threads put them there."""
    _until(lambda: batcher.n_waiting == n_requests)


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.001)


def _outcome(future: "Future[Verdict]") -> Verdict | BaseException:
    try:
        return future.result(20)
    except BaseException as error:
        return error


def test_many_threads_get_the_gates_own_answers(spotting: Gate) -> None:
    texts = [f"{'good ' * (i % 9)}{('morning', 'good', 'world')[i % 3]}" for i in range(300)]
    batcher = Batcher(spotting)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: batcher.check(text, caller=text[:5]), texts))
    assert found == spotting.check_many(texts)
    assert batcher.close()


def test_requests_that_arrive_while_the_engine_runs_run_together(spotting: Gate) -> None:
    facts: list[BatchFacts] = []
    with _busy(spotting, on_batch=facts.append) as (batcher, session):
        futures = [_submit(batcher, "good " * n) for n in (1, 2, 4)]
        _await_waiting(batcher, 3)
        session.go.set()
        assert [future.result(20).tokens.total for future in futures] == [1, 2, 4]
    assert [each.n_requests for each in facts] == [1, 3]
    assert facts[1].n_tokens == 1 + 2 + 4 + 3 * 2


def test_an_idle_engine_runs_a_request_at_once(spotting: Gate) -> None:
    facts: list[BatchFacts] = []
    batcher = Batcher(spotting, on_batch=facts.append)
    batcher.check("good")
    batcher.check("morning")
    assert batcher.close()
    assert [each.n_requests for each in facts] == [1, 1]


def test_a_full_queue_refuses_at_once(spotting: Gate) -> None:
    with _busy(spotting, limits=QueueLimits(max_queue_requests=2)) as (batcher, _):
        for text in ("good", "morning"):
            _submit(batcher, text)
        _await_waiting(batcher, 2)
        with pytest.raises(Overloaded, match=r"2 requests of .* are waiting"):
            batcher.check("world")


def test_a_callers_flood_evicts_its_own_newest_request(spotting: Gate) -> None:
    with _busy(spotting, limits=QueueLimits(max_queue_requests=3)) as (batcher, session):
        flood = [_submit(batcher, "good " * n, caller="flood") for n in (1, 2, 4)]
        _await_waiting(batcher, 3)
        other = _submit(batcher, "morning", caller="other")
        with pytest.raises(Overloaded, match="waits with most"):
            flood[2].result(20)
        session.go.set()
        assert other.result(20).flagged
        assert not flood[0].result(20).flagged


def test_a_failing_observer_does_not_end_the_engine(spotting: Gate) -> None:
    def fail(_: BatchFacts) -> None:
        raise RuntimeError

    batcher = Batcher(spotting, on_batch=fail)
    assert batcher.check("morning").flagged
    assert batcher.check("world").flagged
    assert batcher.close()


def test_a_request_that_waited_too_long_is_dropped_unread(spotting: Gate) -> None:
    with _busy(spotting) as (batcher, session):
        late = _submit(batcher, "morning", timeout_s=0.0)
        _await_waiting(batcher, 1)
        session.go.set()
        with pytest.raises(DeadlineExceeded, match="dropped unread"):
            late.result(20)
    assert session.n_texts == [1]


@contextmanager
def _busy_for_long(gate: Gate, **options: Any) -> Iterator[tuple[Batcher, Held]]:  # noqa: ANN401
    """Yield a batcher whose engine was slow and is busy again: about a second of work waits."""
    with _busy(gate, **options) as (batcher, session):
        # The engine's run takes this long, by the batcher's own measurement.
        time.sleep(0.3)
        session.go.set()
        assert batcher.check("morning").flagged
        # The run is measured after its answers are out.
        _until(lambda: len(session.n_texts) == 2)
        session.go.clear()
        session.running.clear()
        _submit(batcher, "world " * 30)
        assert session.running.wait(20)
        yield batcher, session


def test_a_request_that_would_hardly_be_answered_in_time_is_refused_at_once(spotting: Gate) -> None:
    with _busy_for_long(spotting) as (batcher, session):
        refused = _submit(batcher, "good", timeout_s=0.02)
        assert refused.done()
        assert isinstance(refused.exception(), Overloaded)
        patient = _submit(batcher, "good")
        session.go.set()
        assert not patient.result(20).flagged


def test_texts_of_one_request_do_not_count_as_work_ahead_of_each_other(spotting: Gate) -> None:
    with _busy_for_long(spotting) as (batcher, session):
        texts = [f"{'world ' * 30}{'good ' * n}" for n in range(4)]
        refused = batcher.submit(Ask(texts=texts, timeout_s=0.02))
        assert [isinstance(one.exception(0), Overloaded) for one in refused] == [True] * 4
        # By the measurements, each of them is a second of work.
        session.go.set()
        _until(lambda: not batcher.n_waiting)
        admitted = batcher.submit(Ask(texts=texts, timeout_s=20))
        assert [verdict_of(one.result(20)).flagged for one in admitted] == [True] * 4


def test_a_cached_or_queued_text_is_never_refused_for_lateness(spotting: Gate) -> None:
    with _busy_for_long(spotting, cache_entries=4) as (batcher, session):
        patient = _submit(batcher, "good")
        _await_waiting(batcher, 1)
        assert _submit(batcher, "morning", timeout_s=0.02).result(20).flagged
        equal = _submit(batcher, "good", timeout_s=0.02)
        assert not equal.done()
        session.go.set()
        assert equal.result(20) == patient.result(20)


def test_an_engine_that_was_slow_once_is_tried_again(spotting: Gate) -> None:
    with _busy(spotting) as (batcher, session):
        # The engine's run takes this long, by the batcher's own measurement.
        time.sleep(0.5)
        session.go.set()
        for attempt in range(20):
            outcome = _outcome(_submit(batcher, "good" + " good" * attempt, timeout_s=0.05))
            if isinstance(outcome, Verdict):
                break
            assert isinstance(outcome, DeadlineExceeded)
        else:
            pytest.fail("every request was dropped")


def test_a_waiting_thread_gets_an_error_at_its_deadline(spotting: Gate) -> None:
    with _busy(spotting) as (batcher, session):
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.01 s"):
            batcher.check("morning", timeout_s=0.01)
        _await_waiting(batcher, 0)
    assert session.n_texts == [1]


def test_a_text_that_is_abandoned_while_it_is_tokenised_is_not_read(
    spotting: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    ask = Gate.ask

    def slow_ask(gate: Gate, texts: Sequence[str], **options: Any) -> list[Question]:  # noqa: ANN401
        if texts == ["morning"]:
            begun.set()
            assert go.wait(20)
        return ask(gate, texts, **options)

    monkeypatch.setattr(Gate, "ask", slow_ask)
    facts: list[BatchFacts] = []
    batcher = Batcher(spotting, on_batch=facts.append)
    left = _submit(batcher, "morning")
    assert begun.wait(20)
    batcher.abandon(left)
    go.set()
    # Tokenised behind it, on the same thread.
    assert not batcher.check("good").flagged
    assert batcher.close()
    assert [each.n_requests for each in facts] == [1]


def test_an_abandoned_text_is_not_read(spotting: Gate) -> None:
    with _busy(spotting) as (batcher, session):
        futures = [_submit(batcher, "morning"), _submit(batcher, "world")]
        _await_waiting(batcher, 2)
        batcher.abandon(futures[0])
        _await_waiting(batcher, 1)
        session.go.set()
        assert futures[1].result(20).flagged
        with pytest.raises(CancelledError):
            futures[0].result()
    assert session.n_texts == [1, 1]


def test_equal_texts_that_wait_are_read_once_and_all_answered(spotting: Gate) -> None:
    with _busy(spotting) as (batcher, session):
        futures = [_submit(batcher, "morning") for _ in range(5)]
        different = _submit(batcher, "morning", all_levels=True)
        _await_waiting(batcher, 2)
        batcher.abandon(futures.pop())
        session.go.set()
        verdicts = [future.result(20) for future in futures]
        assert verdicts == [spotting.check("morning")] * 4
        assert different.result(20).hazards is not None
    assert sum(session.n_texts) == 3


def test_a_cached_verdict_costs_nothing_until_the_gate_is_swapped(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    batcher = Batcher(held, cache_entries=2)
    for text in ("morning", "morning", "good", "world", "morning"):
        assert batcher.check(text) == spotting.check(text)
    # Two other texts had evicted "morning" before it was asked again.
    assert len(session.n_texts) == 4
    batcher.swap(held)
    batcher.check("morning")
    assert len(session.n_texts) == 5
    assert batcher.close()


def test_after_a_swap_the_old_gate_answers_what_was_asked_before(spotting: Gate) -> None:
    deaf = dataclasses.replace(spotting, threshold=0.99999999)
    with _busy(spotting) as (batcher, session):
        before = _submit(batcher, "morning")
        _await_waiting(batcher, 1)
        batcher.swap(deaf)
        after = _submit(batcher, "morning")
        _await_waiting(batcher, 2)
        session.go.set()
        assert before.result(20).flagged
        assert not after.result(20).flagged


def test_a_text_on_which_the_engine_fails_fails_no_neighbour(spotting: Gate) -> None:
    poison = spotting.level1.tokenizer.encode(["world"])[0].windows[0].input_ids[1]

    def fail(input_ids: np.ndarray) -> None:
        if (input_ids == poison).any():
            raise InferenceError("poisoned")

    with _busy(spotting) as (batcher, session):
        session.fail = fail
        futures = [_submit(batcher, text) for text in ("good", "world", "morning")]
        _await_waiting(batcher, 3)
        session.go.set()
        good, world, morning = map(_outcome, futures)
    assert isinstance(world, InferenceError)
    assert good == spotting.check("good")
    assert morning == spotting.check("morning")


class _Panic(BaseException):
    """An error as a library in another language raises it: no Exception."""


@pytest.mark.parametrize("error", [ValueError, _Panic, SystemExit])
def test_the_thread_outlives_any_error_of_the_engine_and_no_text_is_logged(
    spotting: Gate, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    batcher = Batcher(held)

    def fail(_: np.ndarray) -> None:
        raise error(MARKER)

    session.fail = fail
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(InferenceError, match=error.__name__) as caught,
    ):
        batcher.check("morning")
    assert MARKER not in str(caught.value) + caplog.text
    session.fail = lambda _: None
    assert batcher.check("morning").flagged
    assert batcher.close()


@pytest.mark.parametrize("text", ["good", "good " * 5000])
def test_a_panic_of_the_tokenizer_is_answered_and_the_next_text_read(
    spotting: Gate, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    batcher = Batcher(spotting)

    def panic(*_: object, **__: object) -> None:
        raise _Panic(MARKER)

    with monkeypatch.context() as patched:
        patched.setattr(Gate, "ask", panic)
        with pytest.raises(InferenceError, match="_Panic"):
            batcher.check(text, timeout_s=20)
    assert batcher.check("morning", timeout_s=20).flagged
    assert batcher.close()


def test_callers_take_turns_before_tokenising(
    spotting: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    go = threading.Event()
    ask = Gate.ask

    def slow(self: Gate, texts: Sequence[str], **options: Any) -> Any:  # noqa: ANN401
        assert go.wait(20)
        order.append(texts[0])
        return ask(self, texts, **options)

    monkeypatch.setattr(Gate, "ask", slow)
    batcher = Batcher(spotting)
    flood = [_submit(batcher, f"good {i}", caller="flood") for i in range(100)]
    other = _submit(batcher, "morning", caller="other")
    go.set()
    assert other.result(20).flagged
    # The first text of the flood was under way, and the second may have the same start.
    assert order.index("morning") <= 2
    assert not any(future.result(20).flagged for future in flood)
    assert batcher.close()


def test_a_run_that_does_not_end_is_given_up_and_another_gate_answers(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    batcher = Batcher(held)
    stuck = _submit(batcher, "good")
    assert session.running.wait(20)
    waiting = _submit(batcher, "morning")
    _await_waiting(batcher, 1)
    assert batcher.run_age_s > 0
    batcher.rebuild(spotting)
    for future in (stuck, waiting):
        with pytest.raises(InferenceError, match="did not answer"):
            future.result(20)
    assert batcher.alive
    assert batcher.run_age_s == 0
    assert batcher.check("morning", timeout_s=20).flagged
    # The given-up thread ends with its run, and leaves the new one alone.
    session.go.set()
    assert batcher.check("world", timeout_s=20).flagged
    assert batcher.close()


def test_a_text_that_cannot_be_read_fails_its_own_request_only(spotting: Gate) -> None:
    batcher = Batcher(spotting)
    with pytest.raises(InputError, match="lone surrogate"):
        batcher.check("\ud800")
    with pytest.raises(InputError, match="expected a string, got int"):
        batcher.check(cast("str", 7))
    with pytest.raises(InputError, match="without a policy"):
        batcher.check("good", tenant="nobody")
    assert not batcher.check("good").flagged
    assert batcher.close()


def test_closing_answers_waiting_texts_and_takes_no_new_ones(spotting: Gate) -> None:
    with _busy(spotting) as (batcher, session):
        waiting = [_submit(batcher, "morning"), _submit(batcher, "good")]
        _await_waiting(batcher, 2)
        session.go.set()
        assert batcher.close()
        assert [future.result(0).flagged for future in waiting] == [True, False]
        with pytest.raises(Overloaded, match="shutting down"):
            batcher.check("good")


def test_texts_left_when_closing_takes_too_long_are_refused_and_never_safe(
    spotting: Gate,
) -> None:
    with _busy(spotting) as (batcher, session):
        waiting = _submit(batcher, "morning")
        _await_waiting(batcher, 1)
        assert not batcher.close(0.01)
        with pytest.raises(Overloaded, match="before this text's turn"):
            waiting.result(0)
        session.go.set()


def _storm(gate: Gate, n_requests: int) -> None:
    """Ask random texts with random deadlines and cancels from many threads; check all answers."""
    texts = ["good", "morning", "world", "good " * 7, "good good morning", "world good"]
    expected = dict(zip(texts, gate.check_many(texts), strict=True))
    batcher = Batcher(gate, limits=QueueLimits(max_queue_requests=64), cache_entries=2)

    def ask(seed: int) -> str:
        draw = random.Random(seed)
        text = draw.choice(texts)
        future = _submit(
            batcher, text, caller=draw.choice("abcd"), timeout_s=draw.choice([0.0001, 0.01, 60.0])
        )
        if draw.random() < 0.3:
            batcher.abandon(future)
        try:
            assert future.result(60) == expected[text]
        except (Overloaded, DeadlineExceeded, CancelledError) as error:
            return type(error).__name__
        return "answered"

    with ThreadPoolExecutor(32) as pool:
        outcomes = list(pool.map(ask, range(n_requests), chunksize=50))
    assert batcher.close(60)
    assert outcomes.count("answered") > n_requests / 20
    assert outcomes.count("CancelledError") > 0


def test_in_a_storm_of_cancels_and_deadlines_no_answer_is_lost_or_mixed_up(spotting: Gate) -> None:
    _storm(spotting, 4000)


@pytest.mark.slow
def test_in_a_hundred_thousand_requests_no_answer_is_lost_or_mixed_up(spotting: Gate) -> None:
    _storm(spotting, 100_000)
