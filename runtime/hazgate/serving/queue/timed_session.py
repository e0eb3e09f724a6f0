"""Wrap a gate so that each model run is timed and reported to a callback."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hazgate.classifier import Classifier
from hazgate.engine.session import Session
from hazgate.gate import AnyLevel
from hazgate.judge import Judge


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """One run of a level's graph: rows x positions, and how many of these hold tokens.

    Of a graph with early exits, `exits` has the rows that left after each layer, and under 0 those
    that were read whole; of another it is empty.
    """

    level: str
    n_positions: int
    n_tokens: int
    seconds: float
    exits: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _TimedSession:
    session: Session
    level: str
    on_run: Callable[[RunFacts], None]

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        start_s = time.monotonic()
        logits = self.session.run(input_ids, attention_mask, may_leave)
        self.on_run(
            RunFacts(
                level=self.level,
                n_positions=input_ids.size,
                n_tokens=int(attention_mask.sum()),
                seconds=time.monotonic() - start_s,
                exits={} if may_leave is None else _left_after(logits[:, -1]),
            )
        )
        return logits


def _left_after(column: NDArray[np.float32]) -> dict[int, int]:
    """Return the number of rows by the layer after which they left; 0 stands for none."""
    layers, counts = np.unique(np.maximum(column, 0).astype(int), return_counts=True)
    return dict(zip(layers.tolist(), counts.tolist(), strict=True))


def time_sessions(judge: Judge, on_run: Callable[[RunFacts], None]) -> Judge:
    """Return `judge`, with `on_run` called after every run that succeeds, on the run's thread."""

    def timed(level: AnyLevel) -> AnyLevel:
        session = _TimedSession(session=level.session, level=level.level, on_run=on_run)
        return dataclasses.replace(level, session=session)

    if isinstance(judge, Classifier):
        return timed(judge)
    return judge.each_level(timed)
