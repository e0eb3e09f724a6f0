"""A server in a process of its own, on a free port of the loopback."""

import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.ports import free_port
from benchmarks.harness.process import end_process

_START_S = 90
_END_S = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerCommand:
    """The start of a server that takes `--port`.

    Attributes:
        name: the server's, for messages.
        command: starts it, without its port.
        ready_path: answers 200 once the server can be asked.
        environment: variables to add to this process's own.
        folder: where it runs; None is this process's own.
        ca_file: signs the server's certificate; None asks it without TLS.
    """

    name: str
    command: Sequence[str | Path]
    ready_path: str
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"

    def stop(self, timeout_s: float = 30) -> int:
        """Ask it to end, as a supervisor does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def serving(bundle: Path, *arguments: str | Path, ca_file: Path | None = None) -> Iterator[Server]:
    """Run `hazgate serve BUNDLE ARGUMENTS` while the block runs.

    With `ca_file` it is asked over TLS and must have a certificate that this file has signed.

    Raises:
        WorkerFailed: it ended before it was ready, or was not ready in time.
    """
    started = ServerCommand(
        name="hazgate serve",
        command=[sys.executable, "-m", "hazgate", "serve", bundle, *arguments],
        ready_path="/health/ready",
        ca_file=ca_file,
    )
    with running(started) as server:
        yield server


@contextmanager
def running(started: ServerCommand) -> Iterator[Server]:
    """Start a server, wait until it is ready, and end it when the block ends.

    Raises:
        WorkerFailed: it ended before it was ready, or was not ready in time.
    """
    port = free_port()
    # A file, because a pipe that nobody reads fills up and stops the server.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - what the caller itself chose
            [os.fspath(part) for part in (*started.command, "--port", str(port))],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=started.folder,
            env={**os.environ, **started.environment},
        )
        scheme = "http" if started.ca_file is None else "https"
        server = Server(url=f"{scheme}://127.0.0.1:{port}", port=port, process=process)
        try:
            if not _becomes_ready(server, started):
                output.seek(0)
                last = output.read().decode(errors="replace").strip().splitlines()[-1:]
                raise WorkerFailed(f"{started.name} was not ready: {' '.join(last)}")
            yield server
        finally:
            # Workers end with the process that they belong to, if it can tell them.
            end_process(process, _END_S)


def _becomes_ready(server: Server, started: ServerCommand) -> bool:
    ca_file = started.ca_file
    trust = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.process.poll() is None:
        if _is_ready(f"{server.url}{started.ready_path}", trust):
            return True
        time.sleep(0.05)
    return False


def _is_ready(url: str, trust: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5, context=trust):  # noqa: S310 - our own server
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
