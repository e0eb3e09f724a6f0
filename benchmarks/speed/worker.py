"""One system in a process of its own: loads it, then runs what the parent asks for.

    python -m benchmarks.speed.worker

Requests come on standard input and replies go to standard output, one line of JSON each; see
`benchmarks.harness.messages`. Nothing is imported here that the system itself does not need.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from benchmarks.harness.messages import Logits, Timed, parse
from benchmarks.speed.messages import Peak, Ready, Request, Setup
from benchmarks.speed.opening import open_system
from benchmarks.speed.systems import System
from benchmarks.speed.workloads import Workload
from hazgate.documents.decode import encode

# Untimed calls at the start of each turn: the caches are still the previous system's.
_WARM_CALLS_PER_TURN = 3
# Untimed calls of each workload before the first turn.
_WARM_CALLS = 10


def serve(requests: Iterator[str], reply: Callable[[object], None]) -> None:
    """Answers requests until there are no more."""
    setup = parse(Setup, json.loads(next(requests)))
    system = open_system(setup.system, setup.files, setup.threads)
    reply(Ready(size_bytes=system.size_bytes, rss_bytes=status_bytes("VmRSS")))
    workloads = {workload.name: workload for workload in setup.workloads}
    for line in requests:
        request = parse(Request, json.loads(line))
        if request.action == "peak":
            reply(Peak(rss_bytes=status_bytes("VmHWM")))
        elif request.action == "logits":
            rows = system.logits(request.name, setup.cases)
            reply(Logits(rows=tuple(tuple(map(float, row)) for row in rows)))
        elif request.action == "warm":
            reply(Timed(seconds=_time(system, workloads[request.name], 0, _WARM_CALLS)))
        else:
            reply(Timed(seconds=_time(system, workloads[request.name], _WARM_CALLS_PER_TURN)))


def _time(
    system: System, workload: Workload, n_warm: int, n_calls: int | None = None
) -> tuple[float, ...]:
    """Seconds of each of the first `n_calls` calls (None: all), after `n_warm` untimed ones."""
    calls = _calls(system, workload)[:n_calls]
    if workload.kind != "bulk":
        for call in calls[:n_warm]:
            call()
    seconds = []
    for call in calls:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)


def _calls(system: System, workload: Workload) -> list[Callable[[], None]]:
    if workload.kind == "ids":
        return [lambda row=row: system.run_ids(row) for row in workload.rows]  # type: ignore[misc]
    if workload.kind == "text":
        return [lambda text=text: system.run_text(text) for text in workload.texts]  # type: ignore[misc]
    return [lambda: system.run_bulk(workload.texts)]


def status_bytes(field: str) -> int:
    """A memory figure of this process from Linux; elsewhere the peak, whichever is asked for.

    Not ru_maxrss: a child starts with its parent's.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = status.read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def answer(
    serve: Callable[[Iterator[str], Callable[[dict[str, object]], None]], None], requests: IO[str]
) -> None:
    """Runs `serve` on the parent's requests; a failure is its last reply."""
    # Libraries that print must not write between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: dict[str, object]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        serve(iter(requests), send)
    except Exception as error:  # whatever the system raises is the parent's to report
        send({"error": f"{type(error).__name__}: {error}"})
        raise


def main() -> None:
    """Serves the parent."""
    answer(
        lambda requests, send: serve(requests, lambda body: send({"body": encode(body)})),
        sys.stdin,
    )


if __name__ == "__main__":
    main()
