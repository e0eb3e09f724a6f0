"""`hazgate serve` in a process of its own, on a free port of the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server."""

    url: str
    process: "subprocess.Popen[bytes]"

    def stop(self, timeout_s: float = 30) -> int:
        """Asks it to end, as a supervisor does, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def serving(bundle: Path, *arguments: str | Path) -> Iterator[Server]:
    """Starts a server and waits until it is ready; kills it in the end if it still runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hazgate", "serve", bundle, "--port", str(port), *arguments]
    process = subprocess.Popen(
        [os.fspath(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    server = Server(url=f"http://127.0.0.1:{port}", process=process)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def _wait_until_ready(server: Server) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if server.process.poll() is not None:
            output = server.process.stdout.read().decode() if server.process.stdout else ""
            raise AssertionError(f"the server ended before it was ready:\n{output}")
        try:
            with urllib.request.urlopen(f"{server.url}/health/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise AssertionError(f"not ready within {_START_S} s")
