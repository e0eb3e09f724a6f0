"""Gates whose Level 1 waits, fails or is watched, as a test wants it."""

import dataclasses
import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from hazgate import Gate, InferenceError
from hazgate.engine.session import Session


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WatchedSession:
    """A session that calls `before` with the token ids of each run; `before` may wait or raise."""

    session: Session
    before: Callable[[np.ndarray], None]

    def run(self, input_ids: Any, attention_mask: Any, may_leave: Any = None) -> Any:  # noqa: ANN401
        self.before(input_ids)
        return self.session.run(input_ids, attention_mask, may_leave)


def watched_gate(gate: Gate, before: Callable[[np.ndarray], None]) -> Gate:
    """Return the same gate, with `before` called before each run of Level 1."""
    session = cast("Session", WatchedSession(session=gate.level1.session, before=before))
    return dataclasses.replace(gate, level1=dataclasses.replace(gate.level1, session=session))


class Held:
    """A switch that each run waits for; it remembers how many rows each run had."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.go = threading.Event()
        self.n_texts: list[int] = []
        self.fail: Callable[[np.ndarray], None] = lambda input_ids: None

    def __call__(self, input_ids: np.ndarray) -> None:
        self.running.set()
        assert self.go.wait(20)
        self.n_texts.append(len(input_ids))
        self.fail(input_ids)


def held_gate(gate: Gate) -> tuple[Gate, Held]:
    """Return the same gate, whose Level 1 waits before each run, and its switch."""
    held = Held()
    return watched_gate(gate, held), held


class Breakable:
    """A switch with which a test breaks each run, and mends it."""

    def __init__(self) -> None:
        self.broken = False

    def __call__(self, input_ids: np.ndarray) -> None:
        if self.broken:
            raise InferenceError("the session is gone")


def breakable_gate(gate: Gate) -> tuple[Gate, Breakable]:
    """Return the same gate, whose Level 1 fails while its switch is set, and the switch."""
    switch = Breakable()
    return watched_gate(gate, switch), switch


def failing_gate(gate: Gate, fails: Callable[[int], bool]) -> Gate:
    """Return the same gate, whose Level 1 fails on rows of some lengths in tokens."""

    def before(input_ids: np.ndarray) -> None:
        if fails(input_ids.shape[1]):
            raise InferenceError("the model failed")

    return watched_gate(gate, before)
