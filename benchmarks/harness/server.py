"""`hazgate serve` in a process of its own, on a free port of the loopback."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.errors import WorkerFailed

_START_S = 60
_END_S = 30


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
def serving(bundle: Path, *arguments: str | Path, ca_file: Path | None = None) -> Iterator[Server]:
    """Starts a server and waits until it is ready; kills it in the end if it still runs.

    With `ca_file` it is asked by TLS, and must have a certificate that this one has signed.

    Raises:
        WorkerFailed: it ended before it was ready, or is not ready within a minute.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hazgate", "serve", bundle, "--port", str(port), *arguments]
    # A file, for a pipe that nobody reads fills up and stops the server.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [os.fspath(part) for part in command], stdout=output, stderr=subprocess.STDOUT
        )
        scheme = "http" if ca_file is None else "https"
        server = Server(url=f"{scheme}://127.0.0.1:{port}", process=process)
        trust = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
        try:
            if not _becomes_ready(server, trust):
                output.seek(0)
                last = output.read().decode().strip().splitlines()[-1:]
                raise WorkerFailed(f"hazgate serve was not ready: {' '.join(last)}")
            yield server
        finally:
            # Workers end with the process that they belong to, if it can tell them.
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_END_S)


def _becomes_ready(server: Server, trust: ssl.SSLContext | None) -> bool:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.process.poll() is None:
        if _is_ready(server.url, trust):
            return True
        time.sleep(0.05)
    return False


def _is_ready(url: str, trust: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(  # noqa: S310 - our own server
            f"{url}/health/ready", timeout=5, context=trust
        ):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
