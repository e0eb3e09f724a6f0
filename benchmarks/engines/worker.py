"""One engine in a process of its own: loads it, then runs what the parent asks for.

python -m benchmarks.engines.worker
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.engines.messages import Memory, Ready, Request, Setup
from benchmarks.engines.systems import Engine, open_engine
from benchmarks.engines.workloads import Batch, batches_of
from benchmarks.harness.messages import Logits, Timed, parse
from benchmarks.speed.worker import answer, status_bytes
from hazgate.documents.decode import encode


def serve(requests: Iterator[str], reply: Callable[[object], None]) -> None:
    """Answers requests until there are no more."""
    setup = parse(Setup, json.loads(next(requests)))
    start = time.perf_counter()
    engine = open_engine(setup.engine, setup.threads)
    _logits(engine, setup.cases[:1])
    load_s = time.perf_counter() - start
    reply(Ready(load_s=load_s, rss_bytes=status_bytes("VmRSS")))
    workloads = {workload.name: workload for workload in setup.workloads}
    for line in requests:
        request = parse(Request, json.loads(line))
        if request.action == "memory":
            reply(Memory(rss_bytes=status_bytes("VmRSS"), peak_bytes=status_bytes("VmHWM")))
        elif request.action == "logits":
            rows = _logits(engine, setup.cases)
            reply(Logits(rows=tuple(tuple(map(float, row)) for row in rows)))
        else:
            batches = batches_of(workloads[request.name], setup.vocab_size)
            reply(Timed(seconds=_time(engine, batches, request.n_calls, setup.engine.workers)))


def _time(engine: Engine, batches: list[Batch], n_calls: int, workers: int) -> tuple[float, ...]:
    """Seconds of each of `n_calls` passes over `batches`, `workers` of them at a time."""
    seconds = []
    with ThreadPoolExecutor(workers) as pool:
        run = pool.map if workers > 1 else map
        for _ in range(n_calls):
            start = time.perf_counter()
            # The longest first, as the runtime takes them.
            list(run(lambda batch: engine(*batch), batches[::-1]))
            seconds.append(time.perf_counter() - start)
    return tuple(seconds)


def _logits(engine: Engine, cases: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Every case alone and unpadded."""
    rows = []
    for case in cases:
        ids = np.array([case], dtype=np.int64)
        rows.append(engine(ids, np.ones_like(ids))[0])
    return np.stack(rows)


if __name__ == "__main__":
    answer(
        lambda requests, send: serve(requests, lambda body: send({"body": encode(body)})), sys.stdin
    )
