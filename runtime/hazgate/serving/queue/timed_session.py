"""Runs of the models, timed where they happen: the same gate, and somebody who is told."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.classifier import Classifier
from hazgate.engine.session import Session
from hazgate.gate import Gate


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """One run of a level's graph: rows x positions, of which `n_tokens` are no padding."""

    level: str
    n_positions: int
    n_tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _ObservedSession:
    session: Session
    level: str
    on_run: Callable[[RunFacts], None]

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        start_s = time.monotonic()
        logits = self.session.run(input_ids, attention_mask)
        self.on_run(
            RunFacts(
                level=self.level,
                n_positions=input_ids.size,
                n_tokens=int(attention_mask.sum()),
                seconds=time.monotonic() - start_s,
            )
        )
        return logits


def observed(gate: Gate, on_run: Callable[[RunFacts], None]) -> Gate:
    """`gate`, which tells `on_run` of every run that succeeds, on the thread of the run."""

    def level(classifier: Classifier) -> Classifier:
        session = _ObservedSession(
            session=classifier.session, level=classifier.level, on_run=on_run
        )
        return dataclasses.replace(classifier, session=session)

    return dataclasses.replace(gate, level1=level(gate.level1), level2=level(gate.level2))
