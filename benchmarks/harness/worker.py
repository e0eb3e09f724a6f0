"""The worker's side: holds one system in a process of its own and answers the parent.

Requests come on standard input and replies go to standard output, one line of JSON each; see
`benchmarks.harness.messages`. Nothing is imported here that not every system needs.
"""

import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.messages import Loaded, Logits, Memory, Timed, WorkerRequest, parse
from benchmarks.harness.stopwatch import seconds_of_each
from hazgate.documents.decode import encode

S = TypeVar("S")

Reply = Callable[[object], None]


class MeasuredSystem(Protocol):
    """A loaded system under test."""

    @property
    def size_bytes(self) -> int:
        """Size of its model files."""
        ...

    def calls(self, case: str) -> Sequence[Callable[[], object]]:
        """Return the calls that make up one pass over a case, at least one."""
        ...

    def logits(self, level: str) -> NDArray[np.float32]:
        """Return logits [n_rows, n_labels] of the setup's rows."""
        ...


def serve(
    setup_type: type[S],
    open_system: Callable[[S], MeasuredSystem],
    requests: Iterator[str],
    reply: Reply,
) -> None:
    """Open the system that the first request describes, then answer all others."""
    setup = parse(setup_type, json.loads(next(requests)))
    start = time.perf_counter()
    system = open_system(setup)
    load_s = time.perf_counter() - start
    reply(Loaded(load_s=load_s, rss_bytes=status_bytes("VmRSS"), size_bytes=system.size_bytes))
    for line in requests:
        reply(_answer(system, parse(WorkerRequest, json.loads(line))))


def _answer(system: MeasuredSystem, request: WorkerRequest) -> Timed | Logits | Memory:
    if request.action == "memory":
        return Memory(rss_bytes=status_bytes("VmRSS"), peak_bytes=status_bytes("VmHWM"))
    if request.action == "logits":
        rows = system.logits(request.name)
        return Logits(rows=tuple(tuple(map(float, row)) for row in rows))
    calls = system.calls(request.name)
    for call in islice(cycle(calls), request.n_warm):
        call()
    return Timed(seconds=seconds_of_each(islice(cycle(calls), request.n_calls)))


def status_bytes(field: str) -> int:
    """Return a memory figure of this process from Linux; elsewhere always the peak.

    Linux's figures are not ru_maxrss, because a child starts with its parent's.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = status.read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def answer(serve: Callable[[Iterator[str], Reply], None], requests: IO[str]) -> None:
    """Run `serve` on the parent's requests; a failure becomes its last reply."""
    # Libraries that print must not write between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        serve(iter(requests), lambda body: send({"body": encode(body)}))
    except Exception as error:  # whatever the system raises is the parent's to report
        send({"error": f"{type(error).__name__}: {error}"})
        raise
