"""Any server in a process of its own, on a free port of the loopback."""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.errors import WorkerFailed

_START_S = 90
_END_S = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """A server that can be asked."""

    port: int
    pid: int


@contextmanager
def listening(
    name: str,
    command: Sequence[str | Path],
    ready_path: str,
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> Iterator[Listening]:
    """Starts a server that takes `--port`, and ends it when the block ends.

    Args:
        name: the server's, for messages.
        command: what starts it, without its port.
        ready_path: what it answers with 200 once it can be asked.
        environment: variables beside this process's own.
        folder: where it runs; None is this process's own.

    Raises:
        WorkerFailed: it ended before it was ready, or is not ready in time.
    """
    port = _free_port()
    # A file, for a pipe that nobody reads fills up and stops the server.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - what the benchmark itself chose
            [os.fspath(part) for part in (*command, "--port", str(port))],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment},
        )
        try:
            if not _becomes_ready(process, f"http://127.0.0.1:{port}{ready_path}"):
                output.seek(0)
                last = output.read().decode(errors="replace").strip().splitlines()[-1:]
                raise WorkerFailed(f"{name} was not ready: {' '.join(last)}")
            yield Listening(port=port, pid=process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_END_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _becomes_ready(process: "subprocess.Popen[bytes]", url: str) -> bool:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        if _is_ready(url):
            return True
        time.sleep(0.05)
    return False


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a port of our own
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
