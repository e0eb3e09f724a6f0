"""One system in a process of its own; see `benchmarks.harness.worker`.

python -m benchmarks.speed.worker
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import worker
from benchmarks.speed.opening import open_system
from benchmarks.speed.systems import BothLevels, SpeedSetup
from benchmarks.speed.workloads import SpeedWorkload


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """A system, and the workloads and rows that it will be asked about."""

    system: BothLevels
    workloads: Mapping[str, SpeedWorkload]
    rows: Sequence[tuple[int, ...]]

    @property
    def size_bytes(self) -> int:
        """Size of the weight files of both levels."""
        return self.system.size_bytes

    def calls(self, case: str) -> list[Callable[[], object]]:
        """Return a call per text, or one of all texts."""
        workload = self.workloads[case]
        if workload.kind == "ids":
            return [partial(self.system.run_ids, row) for row in workload.rows]
        if workload.kind == "text":
            return [partial(self.system.run_text, text) for text in workload.texts]
        return [partial(self.system.run_bulk, workload.texts)]

    def logits(self, level: str) -> NDArray[np.float32]:
        """Return a level's logits of the rows."""
        return self.system.logits(level, self.rows)


def serve(requests: Iterator[str], reply: worker.Reply) -> None:
    """Answer requests until there are no more."""
    worker.serve(SpeedSetup, _open, requests, reply)


def _open(setup: SpeedSetup) -> _Measured:
    return _Measured(
        system=open_system(setup.system, setup.files, setup.threads),
        workloads={workload.name: workload for workload in setup.workloads},
        rows=setup.rows,
    )


if __name__ == "__main__":
    worker.answer(serve, sys.stdin)
