"""`hazgate serve` with a clock in its event loop: `python -m tests.support.ticking_server`.

`GET /_cost` answers with what the server has spent since it was last asked: processor seconds of
the process, growth of its peak memory, and the longest turn of the event loop in processor seconds
of its own thread. Other processes of the machine change none of these. A turn is not longer for the
time in which another thread holds the interpreter's lock, e.g. while it parses JSON.
"""

import asyncio
import ctypes
import gc
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from hazgate.serving import launch
from hazgate.serving.source import ServeOptions, ServeSource

PATH = "/_cost"
_TICK_S = 0.002
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
# Resets the peak of the resident set, see proc(5).
_RESET_PEAK = "5"


@dataclass(kw_only=True, slots=True)
class _Costs:
    """A clock that ticks in the event loop, and the costs since the last look."""

    worst_s: float = 0.0
    last_s: float = 0.0
    cpu_s: float = 0.0
    rss_bytes: int = 0

    def tick(self) -> None:
        now_s = time.thread_time()
        self.worst_s = max(self.worst_s, now_s - self.last_s)
        self.last_s = now_s
        asyncio.get_running_loop().call_later(_TICK_S, self.tick)

    def begin(self) -> None:
        self.last_s = time.thread_time()
        self.tick()

    def look(self) -> dict[str, float]:
        """Return the costs so far, and start again."""
        found = {
            "cpu_s": time.process_time() - self.cpu_s,
            "peak_bytes": float(_bytes("VmHWM") - self.rss_bytes),
            "worst_turn_s": self.worst_s,
        }
        gc.collect()
        # Freed memory that the allocator keeps would hide what the next request needs.
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text(_RESET_PEAK)
        self.rss_bytes = _bytes("VmRSS")
        self.cpu_s = time.process_time()
        self.last_s, self.worst_s = time.thread_time(), 0.0
        return found


def _bytes(field: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _ticking(app: ASGIApp) -> ASGIApp:
    costs = _Costs()

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            costs.begin()
        if scope.get("path") != PATH:
            await app(scope, receive, send)
            return
        body = json.dumps(costs.look()).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return around


def main() -> None:
    """Serve a bundle until told to stop: BUNDLE GRPC_PORT --port PORT."""
    bundle, grpc_port, _, port = sys.argv[1:]
    build = launch.build_app
    launch.build_app = lambda *arguments: _ticking(build(*arguments))
    source = ServeSource(
        bundle=Path(bundle), options=ServeOptions(port=int(port), grpc_port=int(grpc_port))
    )
    launch.run(source, source.read())


if __name__ == "__main__":
    main()
