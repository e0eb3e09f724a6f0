"""The Triton server that nvidia-pytriton's wheel carries, on a repository, as its page says."""

import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.ports import free_port
from tests.support.environments import environment
from tests.support.processes import run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "runtime" / "scale" / "triton.md"
LOOPBACK = "127.0.0.1"
_ASK = Path(__file__).with_name("ask_triton_server.py")
_START_S = 120
_STOP_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that is ready for calls."""

    python: Path
    ports: dict[str, int]
    log: Path

    def ask(self, protocol: str, *calls: dict[str, Any]) -> list[Any]:
        """Return the answer of Triton's own client to each call; see ask_triton_server.py."""
        address = f"{LOOPBACK}:{self.ports[protocol]}"
        spelt = json.dumps(calls).encode()
        done = run(self.python, "-W", "ignore", _ASK, protocol, address, stdin=spelt)
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout)
        return answers


def server_environment(folder: Path) -> Path:
    """Return the bin folder of an environment with the server, client, engine and hazgate.

    The wheel of hazgate is built now in `folder`; the Python backend ignores PYTHONPATH.
    """
    engine = (
        f"{name}=={importlib.metadata.version(name)}" for name in ("onnxruntime", "tokenizers")
    )
    bin_folder = environment("nvidia-pytriton==0.7.0", *engine)
    _run("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT / "runtime")
    (wheel,) = folder.glob("*.whl")
    pip = ("-m", "pip", "--python", bin_folder / "python", "--disable-pip-version-check")
    _run(*pip, "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    return bin_folder


def shown(language: str, word: str) -> str:
    """Return the page's only block in a language that contains a word."""
    page = PAGE.read_text(encoding="utf-8")
    blocks = [block.partition("\n```")[0] for block in page.split(f"```{language}\n")[1:]]
    (block,) = [block for block in blocks if word in block]
    return block


@contextmanager
def launched(
    repository: Path, programs: Path, folder: Path, models: Sequence[str] = ("hazgate",)
) -> Iterator[tuple["subprocess.Popen[bytes]", Server]]:
    """Start the server and yield its process and address; end it with the block.

    Args:
        repository: folder of the models.
        programs: the bin folder of `server_environment`.
        folder: working directory, and place of the log.
        models: names of the models to load.
    """
    ports = {"http": free_port(), "grpc": free_port()}
    (folder / "models").symlink_to(repository)
    (folder / "triton").symlink_to(programs.parent)
    script = (
        shown("sh", "--backend-directory")
        .replace("8000", str(ports["http"]))
        .replace("8001", str(ports["grpc"]))
    )
    # The server replaces the shell, so that signals reach it.
    script = script.replace("\nLD_LIBRARY_PATH", "\nexec env LD_LIBRARY_PATH")
    load = " ".join(f"--load-model={name}" for name in models)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-ec", script.replace("--load-model=hazgate", load)],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process, Server(python=programs / "python", ports=ports, log=log)
    finally:
        _end(process)


@contextmanager
def serving(
    repository: Path, programs: Path, folder: Path, models: Sequence[str] = ("hazgate",)
) -> Iterator[Server]:
    """Run a server and yield it once it answers."""
    with launched(repository, programs, folder, models) as (process, server):
        until = time.monotonic() + _START_S
        # It listens once every model is loaded; HTTP is last.
        while not _listens(server.ports["http"]):
            alive = process.poll() is None and time.monotonic() < until
            assert alive, server.log.read_text(encoding="utf-8", errors="replace")[-5000:]
            time.sleep(0.1)
        yield server


def _run(*arguments: str | Path) -> None:
    done = run(sys.executable, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server gently, so that it frees its shared memory; else kill its group."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5):
            return True
    except OSError:
        return False
