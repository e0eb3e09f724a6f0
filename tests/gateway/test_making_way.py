"""A long text runs in pieces, and others need not wait for its end."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from hazgate import DeadlineExceeded, EngineOptions, Gate, InferenceError, Verdict
from hazgate.engine.logit_store import DEFAULT_STORE
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.queue.engine_thread import BatchFacts
from tests.support.sessions import watched_gate

# Runs of two windows of 64 tokens.
LIMITS = QueueLimits(max_batch_tokens=128)
LONG = " ".join(f"good{i % 7} hello" for i in range(600))
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def int8_gate(tiny_bundle: Path) -> Gate:
    return Gate.open(tiny_bundle, engine=EngineOptions(variant="int8", threads=1))


class _Runs:
    """The runs of Level 1: their widths, and what is done before some of them."""

    def __init__(self) -> None:
        self.n_rows: list[int] = []
        self.before: dict[int, Callable[[], None]] = {}

    def __call__(self, input_ids: np.ndarray) -> None:
        self.before.get(len(self.n_rows), lambda: None)()
        self.n_rows.append(len(input_ids))


def _submit(batcher: Batcher, text: str, **options: Any) -> "Future[Verdict]":  # noqa: ANN401
    (future,) = batcher.submit(Ask(texts=[text], **options))
    return cast("Future[Verdict]", future)


def _until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.001)


def _n_runs(gate: Gate) -> int:
    """Count the runs of Level 1 that the long text takes alone."""
    runs = _Runs()
    batcher = Batcher(watched_gate(gate, runs), limits=LIMITS)
    batcher.check(LONG)
    assert batcher.close(PATIENCE_S)
    return len(runs.n_rows)


@pytest.mark.parametrize("caller", ["theirs", "mine"])
@pytest.mark.parametrize("stored", [False, True])
def test_a_short_text_is_answered_while_a_long_one_runs(
    int8_gate: Gate, caller: str, stored: bool
) -> None:
    runs, order = _Runs(), list[str]()
    batcher = Batcher(
        watched_gate(int8_gate, runs),
        limits=LIMITS,
        **({"store": DEFAULT_STORE} if stored else {}),  # type: ignore[arg-type]
    )
    short: list[Future[Verdict]] = []

    def ask() -> None:
        short.append(_submit(batcher, "morning", caller=caller, timeout_s=PATIENCE_S))
        short[0].add_done_callback(lambda _: order.append("short"))
        _until(lambda: batcher.n_waiting == 1)

    runs.before[2] = ask
    long = _submit(batcher, LONG, caller="mine")
    long.add_done_callback(lambda _: order.append("long"))
    assert long.result(PATIENCE_S) == int8_gate.check(LONG)
    assert short[0].result(PATIENCE_S) == int8_gate.check("morning")
    assert order == ["short", "long"]
    # It runs behind the piece that ran when it came.
    assert runs.n_rows[3] == 1
    assert max(runs.n_rows) <= 2
    assert batcher.close(PATIENCE_S)


def test_short_texts_that_keep_coming_leave_a_long_one_a_piece_after_each_batch(
    int8_gate: Gate,
) -> None:
    events: list[str] = []

    def before(input_ids: np.ndarray) -> None:
        # Windows of the long text are wider than any short text.
        if input_ids.shape[1] > 20:
            events.append("piece")

    batcher = Batcher(
        watched_gate(int8_gate, before), limits=LIMITS, on_batch=lambda _: events.append("batch")
    )
    over = threading.Event()

    def flood(caller: str) -> None:
        i = 0
        while not over.is_set():
            batcher.check(f"morning {i}", caller=caller)
            i += 1

    threads = [threading.Thread(target=flood, args=(f"short {i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    _until(lambda: len(events) > 3)
    long = _submit(batcher, LONG, caller="long")
    assert long.result(PATIENCE_S) == int8_gate.check(LONG)
    over.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    pieces = [i for i, event in enumerate(events) if event == "piece"]
    between = [later - earlier - 1 for earlier, later in itertools.pairwise(pieces)]
    assert max(between) == 1
    assert batcher.close(PATIENCE_S)


def test_a_long_text_that_nobody_waits_for_is_not_run_to_its_end(int8_gate: Gate) -> None:
    alone = _n_runs(int8_gate)
    runs = _Runs()
    facts: list[BatchFacts] = []
    batcher = Batcher(watched_gate(int8_gate, runs), limits=LIMITS, on_batch=facts.append)
    asked: list[Future[Verdict]] = []
    runs.before[2] = lambda: batcher.abandon(asked[0])
    asked.append(_submit(batcher, LONG))
    with pytest.raises(CancelledError):
        asked[0].result(PATIENCE_S)
    assert batcher.check("morning") == int8_gate.check("morning")
    assert len(runs.n_rows) == 4 < alone
    assert batcher.close(PATIENCE_S)
    # The pace is learned from what was read.
    assert facts[0].n_tokens == 3 * LIMITS.max_batch_tokens


def test_a_long_text_ends_at_its_deadline_and_is_never_safe(int8_gate: Gate) -> None:
    alone = _n_runs(int8_gate)
    runs = _Runs()
    batcher = Batcher(watched_gate(int8_gate, runs), limits=LIMITS)
    runs.before[2] = lambda: time.sleep(0.6)
    long = _submit(batcher, LONG, timeout_s=0.5)
    with pytest.raises(DeadlineExceeded, match="dropped half read"):
        long.result(PATIENCE_S)
    assert batcher.check("morning") == int8_gate.check("morning")
    assert len(runs.n_rows) < alone
    assert batcher.close(PATIENCE_S)


def test_a_short_text_is_not_refused_because_a_long_one_runs(int8_gate: Gate) -> None:
    runs = _Runs()
    batcher = Batcher(watched_gate(int8_gate, runs), limits=LIMITS)
    batcher.check("good " * 60)
    pace_s = batcher.seconds_per_token
    short: list[Future[Verdict]] = []
    # Enough for a few pieces, and not for the long text.
    timeout_s = max(0.05, 6 * LIMITS.max_batch_tokens * pace_s)
    runs.before[len(runs.n_rows) + 1] = lambda: short.append(
        _submit(batcher, "morning", caller="other", timeout_s=timeout_s)
    )
    long = _submit(batcher, LONG * 20)
    _until(lambda: bool(short))
    assert short[0].result(PATIENCE_S) == int8_gate.check("morning")
    assert not long.done()
    batcher.abandon(long)
    assert batcher.close(PATIENCE_S)


def test_a_long_text_makes_no_way_for_another_long_one(int8_gate: Gate) -> None:
    runs, order = _Runs(), list[int]()
    batcher = Batcher(watched_gate(int8_gate, runs), limits=LIMITS)
    texts = [LONG + f" {i}" for i in range(3)]
    futures = [_submit(batcher, text, caller=f"{i}") for i, text in enumerate(texts)]
    for i, future in enumerate(futures):
        future.add_done_callback(lambda _, i=i: order.append(i))  # type: ignore[misc]
    assert [future.result(PATIENCE_S) for future in futures] == int8_gate.check_many(texts)
    assert order == [0, 1, 2]
    assert batcher.close(PATIENCE_S)


def test_a_run_that_was_given_up_ends_at_its_next_piece(int8_gate: Gate) -> None:
    alone = _n_runs(int8_gate)
    runs = _Runs()
    batcher = Batcher(watched_gate(int8_gate, runs), limits=LIMITS)
    given_up, go = threading.Event(), threading.Event()

    def rebuild() -> None:
        batcher.rebuild(int8_gate)
        given_up.set()
        assert go.wait(PATIENCE_S)

    runs.before[2] = rebuild
    long = _submit(batcher, LONG)
    assert given_up.wait(PATIENCE_S)
    with pytest.raises(InferenceError, match="opened again"):
        long.result(PATIENCE_S)
    # The new thread answers, long texts too, while the other one stands still.
    assert batcher.check("morning") == int8_gate.check("morning")
    assert batcher.check(LONG) == int8_gate.check(LONG)
    go.set()
    _until(lambda: len(runs.n_rows) == 3)
    assert batcher.check("good") == int8_gate.check("good")
    assert len(runs.n_rows) == 3 < alone
    assert batcher.close(PATIENCE_S)
