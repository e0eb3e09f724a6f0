"""A gate whose engine waits until a test lets it go."""

import dataclasses
import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from hazgate import Gate


class Held:
    """A session that waits before each run until it is let go, and remembers what it ran."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401
        self._session = session
        self.running = threading.Event()
        self.go = threading.Event()
        self.n_texts: list[int] = []
        self.fail: Callable[[np.ndarray], None] = lambda input_ids: None

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        self.running.set()
        assert self.go.wait(20)
        self.n_texts.append(len(input_ids))
        self.fail(input_ids)
        return cast("np.ndarray", self._session.run(input_ids, attention_mask))


def held_gate(gate: Gate) -> tuple[Gate, Held]:
    """The same gate, whose Level 1 waits before each run, and what lets it go."""
    session = Held(gate.level1.session)
    level = dataclasses.replace(gate.level1, session=cast("Any", session))
    return dataclasses.replace(gate, level1=level), session
