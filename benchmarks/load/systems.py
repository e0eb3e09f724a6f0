"""The systems under load, and how each is started and asked."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.harness.process import REPOSITORY, Worker, start_worker, thread_pools
from benchmarks.harness.server import ServerCommand, running
from benchmarks.load.arrivals import DEADLINE_S
from benchmarks.load.messages import AskerReady, AskerSetup, InProcess, OverHttp
from benchmarks.load.peers.models import DYNAMIC, PORTABLE, SINGLE

PEERS = REPOSITORY / "benchmarks" / "load" / "peers"
INFINITY = REPOSITORY / "build" / "peers" / "infinity" / "bin" / "infinity_emb"

# The way there and back is part of the caller's deadline.
SERVER_TIMEOUT_S = 0.7 * DEADLINE_S
BOTH_LEVELS = "both levels, every window"
LEVEL_1 = "Level 1, first window"

LoadKind = Literal["lock", "async", "serve", "level1", "optimum", "infinity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadSpec:
    """One system; `model` is a variant of the bundle, or the file that a peer serves."""

    name: str
    title: str
    kind: LoadKind
    reads: str
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Surroundings that all systems share; `benchmarks.load.peers.models` wrote `peers`."""

    bundle: Path
    peers: Path
    texts: tuple[str, ...]
    threads: int
    scratch: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A started system: its asker, and the server's process id if it is another process."""

    spec: LoadSpec
    worker: Worker
    asker_pid: int
    server_pid: int | None

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that work for it."""
        return (self.asker_pid, *([] if self.server_pid is None else [self.server_pid]))


def load_specs(variant: str) -> tuple[LoadSpec, ...]:
    """Return the bundle in three ways, then systems of Level 1 alone: hazgate's and peers."""

    def ours(name: str, title: str, kind: LoadKind) -> LoadSpec:
        return LoadSpec(name=name, title=title, kind=kind, reads=BOTH_LEVELS, model=variant)

    def level1(name: str, title: str, kind: LoadKind, model: str) -> LoadSpec:
        return LoadSpec(name=name, title=title, kind=kind, reads=LEVEL_1, model=model)

    return (
        ours("lock", f"{variant}: gate.check under a lock, one text at a time", "lock"),
        ours("embedded", f"{variant}: AsyncGate, embedded", "async"),
        ours("http", f"{variant}: hazgate serve, over HTTP", "serve"),
        level1("level1-int8", "hazgate's server, int8-fused", "level1", "int8-fused"),
        level1("level1-fp32", "hazgate's server, fp32", "level1", "fp32"),
        level1("optimum-int8", "FastAPI + Optimum, dynamic int8", "optimum", DYNAMIC),
        level1("optimum-fp32", "FastAPI + Optimum, fp32", "optimum", PORTABLE),
        level1("infinity-torch", "infinity, PyTorch fp32", "infinity", "torch"),
        level1("infinity-optimum", "infinity, Optimum fp32", "infinity", "optimum"),
    )


def absent_reason(spec: LoadSpec) -> str | None:
    """Return why a system cannot be measured here, or None."""
    if spec.kind == "infinity" and not INFINITY.is_file():
        return f"not installed in {INFINITY.parents[1].relative_to(REPOSITORY)}"
    return None


@contextmanager
def started(spec: LoadSpec, around: Surroundings) -> Iterator[Running]:
    """Start a system and its asker; both end with the block.

    Raises:
        WorkerFailed: one did not start.
    """
    openers: Mapping[LoadKind, Callable[[LoadSpec, Surroundings], _AskedServer]] = {
        "serve": _serve,
        "level1": _level1,
        "optimum": _optimum,
        "infinity": _infinity,
    }
    with ExitStack() as stack:
        server_pid: int | None = None
        if spec.kind == "lock" or spec.kind == "async":
            gate = InProcess(
                bundle=str(around.bundle),
                variant=spec.model,
                threads=around.threads,
                way=spec.kind,
            )
            setup = AskerSetup(texts=around.texts, gate=gate)
        else:
            asked = openers[spec.kind](spec, around)
            server = stack.enter_context(running(asked.command))
            server_pid = server.process.pid
            setup = AskerSetup(texts=around.texts, http=asked.target(server.port))
        worker = stack.enter_context(
            start_worker(spec.title, ["-m", "benchmarks.load.asker"], threads=around.threads)
        )
        ready = worker.ask(setup, AskerReady)
        yield Running(spec=spec, worker=worker, asker_pid=ready.pid, server_pid=server_pid)


@dataclass(frozen=True, kw_only=True, slots=True)
class _AskedServer:
    """A server's start, and the requests that ask it once its port is known."""

    command: ServerCommand
    target: Callable[[int], OverHttp]


def _serve(spec: LoadSpec, around: Surroundings) -> _AskedServer:
    config = around.scratch / f"{spec.name}.toml"
    config.write_text(serve_settings(spec.model, around.threads), encoding="utf-8")
    command = (sys.executable, "-m", "hazgate", "serve", around.bundle, "--config", config)
    return _hazgate_server(spec, around, *command)


def _level1(spec: LoadSpec, around: Surroundings) -> _AskedServer:
    return _hazgate_server(
        spec,
        around,
        *(sys.executable, PEERS / "level1_server.py", around.bundle),
        *("--variant", spec.model, "--threads", str(around.threads)),
        *("--timeout-s", str(SERVER_TIMEOUT_S)),
    )


def _hazgate_server(spec: LoadSpec, around: Surroundings, *command: str | Path) -> _AskedServer:
    return _AskedServer(
        command=ServerCommand(
            name=spec.title,
            command=command,
            ready_path="/health/ready",
            environment=_environment(around),
        ),
        target=lambda port: OverHttp(port=port, path="/v1/check", text_field="text"),
    )


def _optimum(spec: LoadSpec, around: Surroundings) -> _AskedServer:
    return _AskedServer(
        command=ServerCommand(
            name=spec.title,
            command=[
                *(sys.executable, PEERS / "optimum_server.py", around.peers),
                *("--file", spec.model, "--threads", str(around.threads)),
            ],
            ready_path="/health",
            environment=_environment(around),
        ),
        target=lambda port: OverHttp(port=port, path="/classify", text_field="text"),
    )


def _infinity(spec: LoadSpec, around: Surroundings) -> _AskedServer:
    return _AskedServer(
        command=ServerCommand(
            name=spec.title,
            command=[
                *(INFINITY, "v2", "--model-id", ".", "--served-model-name", "level1"),
                *("--engine", spec.model, "--device", "cpu", "--dtype", "float32"),
                *("--no-bettertransformer", "--log-level", "warning"),
            ],
            ready_path="/health",
            environment=_environment(around),
            # Its optimum engine finds files only by paths that start here.
            folder=around.peers if spec.model == "torch" else around.peers / SINGLE,
        ),
        target=lambda port: OverHttp(
            port=port,
            path="/classify",
            text_field="input",
            is_list=True,
            fields={"model": "level1"},
        ),
    )


def serve_settings(variant: str, threads: int) -> str:
    """Return the configuration of `hazgate serve`, TOML.

    Without a store: the texts come again, and each is to be read, as by the other servers.
    """
    return (
        f'[engine]\nvariant = "{variant}"\nthreads = {threads}\n'
        f"[request]\ntimeout_s = {SERVER_TIMEOUT_S}\n"
        "[store]\nmax_bytes = 0\n"
    )


def _environment(around: Surroundings) -> Mapping[str, str]:
    """Return thread pools' sizes, and variables that keep servers off hubs and caches."""
    return {
        **thread_pools(around.threads),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(around.scratch / "hub"),
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    }
