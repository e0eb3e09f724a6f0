"""The parent's side of a worker: starting it, asking it, and saying how it ended."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from benchmarks.errors import WorkerFailed
from benchmarks.messages import Reply, parse
from hazgate.decode import encode

T = TypeVar("T")

# Workers import `benchmarks` from where this file lies, whatever the parent's directory is.
REPOSITORY = Path(__file__).resolve().parents[1]

_STDERR_LINES = 12
_TERMINATE_S = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A running child that answers lines of JSON. A context manager: leaving it ends the child."""

    name: str
    process: "subprocess.Popen[str]"
    stderr: IO[str]

    @classmethod
    def start(cls, name: str, arguments: Sequence[str], *, threads: int) -> "Worker":
        """Starts `python` with `arguments`.

        Args:
            name: the system's, for messages.
            arguments: of the interpreter.
            threads: for the thread pools that are only set by the environment: OpenMP's, and
                that of the tokenizers.
        """
        stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            cwd=REPOSITORY,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                "RAYON_NUM_THREADS": str(threads),
                "TOKENIZERS_PARALLELISM": "true",
            },
        )
        return cls(name=name, process=process, stderr=stderr)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(_TERMINATE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def ask(self, request: object, kind: type[T]) -> T:
        """Sends a message and waits for the answer, of type `kind`.

        Raises:
            WorkerFailed: the worker answered with an error, or its process ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(encode(request)) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailed(f"{self.name}: its process {self._how_it_ended()}")
        reply = parse(Reply, json.loads(line))
        if reply.error is not None:
            raise WorkerFailed(f"{self.name}: {reply.error}")
        return parse(kind, reply.body)

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
