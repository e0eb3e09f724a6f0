"""One engine in a process of its own; see `benchmarks.harness.worker`.

python -m benchmarks.engines.worker
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines.systems import EngineRun, EngineSetup, open_engine
from benchmarks.engines.workloads import EngineWorkload, batches_of
from benchmarks.harness import worker


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """An engine with its workers, and all that it will be asked about."""

    engine: EngineRun
    pool: ThreadPoolExecutor
    workers: int
    size_bytes: int
    vocab_size: int
    workloads: Mapping[str, EngineWorkload]
    rows: Sequence[tuple[int, ...]]

    def calls(self, case: str) -> list[Callable[[], object]]:
        """Return one call: all batches of the workload, several at a time with workers."""
        # The longest first, as the runtime takes them.
        batches = batches_of(self.workloads[case], self.vocab_size)[::-1]
        run = self.pool.map if self.workers > 1 else map
        return [lambda: list(run(lambda batch: self.engine(*batch), batches))]

    def logits(self, level: str) -> NDArray[np.float32]:  # noqa: ARG002 - an engine has one level
        """Return logits of every row, each alone and unpadded."""
        return self.first_logits(len(self.rows))

    def first_logits(self, n_rows: int) -> NDArray[np.float32]:
        """Return logits of the first rows, each alone and unpadded."""
        found = []
        for row in self.rows[:n_rows]:
            ids = np.array([row], dtype=np.int64)
            found.append(self.engine(ids, np.ones_like(ids))[0])
        return np.stack(found)


def serve(requests: Iterator[str], reply: worker.Reply) -> None:
    """Answer requests until there are no more."""
    worker.serve(EngineSetup, _open, requests, reply)


def _open(setup: EngineSetup) -> _Measured:
    measured = _Measured(
        engine=open_engine(setup.engine, setup.threads),
        pool=ThreadPoolExecutor(setup.engine.workers),
        workers=setup.engine.workers,
        size_bytes=setup.engine.size_bytes,
        vocab_size=setup.vocab_size,
        workloads={workload.name: workload for workload in setup.workloads},
        rows=setup.rows,
    )
    # Loading lasts until the first answer.
    measured.first_logits(1)
    return measured


if __name__ == "__main__":
    worker.answer(serve, sys.stdin)
