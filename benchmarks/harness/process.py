"""The parent's side of child processes: start them, ask them, and report how they ended."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.messages import parse
from hazgate.documents.decode import encode

T = TypeVar("T")

# Workers import `benchmarks` from this file's repository, whatever the parent's directory is.
REPOSITORY = Path(__file__).resolve().parents[2]

_STDERR_LINES = 12
_TERMINATE_S = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A running child that answers lines of JSON; made by `start_worker`."""

    name: str
    process: "subprocess.Popen[str]"
    stderr: IO[str]

    def ask(self, request: object, kind: type[T]) -> T:
        """Send a message and wait for the answer, of type `kind`.

        Raises:
            WorkerFailed: the worker answered with an error, or its process ended.
        """
        requests, replies = _open(self.process.stdin), _open(self.process.stdout)
        try:
            requests.write(json.dumps(encode(request)) + "\n")
            requests.flush()
            line = replies.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailed(f"{self.name}: its process {self._how_it_ended()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerFailed(f"{self.name}: {reply['error']}")
        return parse(kind, reply["body"])

    def _how_it_ended(self) -> str:
        code = self.process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if -code == signal.SIGKILL else ""
            how = f"was killed by {name}{hint}"
        else:
            how = f"ended with exit code {code}"
        self.stderr.seek(0)
        lines = self.stderr.read().splitlines()[-_STDERR_LINES:]
        return "\n".join([f"{how}; the end of its standard error:", *lines]) if lines else how


def run_module(module: str, arguments: Sequence[str] = (), request: str = "") -> None:
    """Run a module in a child that gives its memory back; its standard error is shown.

    Args:
        module: of this repository.
        arguments: of the module.
        request: its standard input.

    Raises:
        WorkerFailed: it ended with an exit code other than 0.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", module, *arguments],
        input=request,
        encoding="utf-8",
        cwd=REPOSITORY,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode:
        raise WorkerFailed(f"{module} ended with exit code {done.returncode}, see above")


def run_once(subject: str, arguments: Sequence[str], request: str = "") -> Mapping[str, float]:
    """Run `python` with `arguments` to its end and return the numbers that it printed as JSON.

    Args:
        subject: what is measured, for messages.
        arguments: of the interpreter.
        request: its standard input.

    Raises:
        WorkerFailed: it ended with an exit code other than 0.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, *arguments],
        input=request,
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkerFailed(f"{subject}: {last}")
    return {key: float(value) for key, value in json.loads(done.stdout).items()}


def end_process(process: "subprocess.Popen[Any]", within_s: float) -> None:
    """Tell a process to end, and kill it if it has not after `within_s`."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(within_s)


@contextmanager
def start_worker(name: str, arguments: Sequence[str], *, threads: int) -> Iterator[Worker]:
    """Run `python` with `arguments`; end that process when the block ends.

    Args:
        name: the system's, for messages.
        arguments: of the interpreter.
        threads: of the pools that only the environment sets: OpenMP's and the tokenizers'.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            cwd=REPOSITORY,
            env={**os.environ, **thread_pools(threads)},
        ) as process,
    ):
        try:
            yield Worker(name=name, process=process, stderr=stderr)
        finally:
            end_process(process, _TERMINATE_S)
            # A request that a dead worker never read must not hide why it died.
            with suppress(BrokenPipeError):
                _open(process.stdin).close()


def thread_pools(threads: int) -> Mapping[str, str]:
    """Return the environment of thread pools that nothing else sets."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true",
    }


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "every worker is started with pipes"
    return pipe
