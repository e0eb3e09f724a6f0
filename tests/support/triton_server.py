"""The Triton server that the wheel of nvidia-pytriton carries, on a repository, as its page says."""

import importlib.metadata
import json
import os
import shutil
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

from tests.support.environments import environment
from tests.support.ports import free_port
from tests.support.processes import run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "runtime" / "growing" / "triton.md"
LOOPBACK = "127.0.0.1"
_ASK = Path(__file__).with_name("ask_triton_server.py")
_START_S = 120
_STOP_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that is ready, and how it is asked."""

    python: Path
    ports: dict[str, int]
    log: Path

    def ask(self, protocol: str, *calls: dict[str, Any]) -> list[Any]:
        """What Triton's own client gets for each call; see ask_triton_server.py."""
        address = f"{LOOPBACK}:{self.ports[protocol]}"
        spelt = json.dumps(calls).encode()
        done = run(self.python, "-W", "ignore", _ASK, protocol, address, stdin=spelt)
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout)
        return answers


def server_environment() -> Path:
    """The bin folder of an environment with the server, its client, and this one's engine."""
    engine = (f"{name}=={importlib.metadata.version(name)}" for name in ("onnxruntime", "tokenizers"))
    return environment("nvidia-pytriton==0.7.0", *engine)


def install_hazgate(folder: Path) -> Path:
    """The runtime's wheel as it is now, unpacked for PYTHONPATH."""
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT / "runtime")
    done = run(sys.executable, *build)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    return folder / "site"


def start_script() -> str:
    """What the page shows to start a server."""
    page = PAGE.read_text(encoding="utf-8")
    (block,) = [b for b in page.split("```sh\n")[1:] if "--backend-directory" in b]
    return block.partition("\n```")[0]


@contextmanager
def launched(
    repository: Path, hazgate: Path, folder: Path, models: Sequence[str] = ("hazgate",)
) -> Iterator[tuple["subprocess.Popen[bytes]", Server]]:
    """The server's process and address, as soon as it was started; ended when the block ends."""
    bin_folder = server_environment()
    ports = {"http": free_port(), "grpc": free_port()}
    (folder / "models").symlink_to(repository)
    (folder / "triton").symlink_to(bin_folder.parent)
    script = start_script().replace("8000", str(ports["http"])).replace("8001", str(ports["grpc"]))
    load = " ".join(f"--load-model={name}" for name in models)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-ec", script.replace("--load-model=hazgate", load)],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.fspath(hazgate)},
            start_new_session=True,
        )
    try:
        yield process, Server(python=bin_folder / "python", ports=ports, log=log)
    finally:
        _end(process)


@contextmanager
def serving(
    repository: Path, hazgate: Path, folder: Path, models: Sequence[str] = ("hazgate",)
) -> Iterator[Server]:
    """A server that answers."""
    with launched(repository, hazgate, folder, models) as (process, server):
        until = time.monotonic() + _START_S
        # It listens when every model is loaded, to HTTP last.
        while not _listens(server.ports["http"]):
            alive = process.poll() is None and time.monotonic() < until
            assert alive, server.log.read_text(encoding="utf-8", errors="replace")[-5000:]
            time.sleep(0.1)
        yield server


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Gracefully, for it gives its shared memory back then; the whole of it in any case."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
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
