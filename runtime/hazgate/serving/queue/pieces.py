"""Wrap a gate so that a long text runs in pieces, with a call between two of them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.classifier import Classifier
from hazgate.engine.session import Session
from hazgate.gate import AnyLevel
from hazgate.judge import Judge


@dataclass(frozen=True, kw_only=True, slots=True)
class _PiecewiseSession:
    session: Session
    before_run: Callable[[], None]

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        self.before_run()
        return self.session.run(input_ids, attention_mask, may_leave)


def in_pieces(judge: Judge, max_piece_tokens: int, before_run: Callable[[], None]) -> Judge:
    """Return `judge`, whose runs have up to so many tokens, with `before_run` called before each.

    A level with several workers stays as it is: its runs go on side by side, and on no thread that
    could do something else between them.

    Args:
        judge: a gate or a level.
        max_piece_tokens: of a run; one window may have more.
        before_run: called on the thread that runs; an error of it ends the answer.
    """

    def changed(level: AnyLevel) -> AnyLevel:
        if level.workers is not None:
            return level
        return dataclasses.replace(
            level,
            session=_PiecewiseSession(session=level.session, before_run=before_run),
            max_batch_tokens=min(level.max_batch_tokens, max_piece_tokens),
        )

    return changed(judge) if isinstance(judge, Classifier) else judge.each_level(changed)
