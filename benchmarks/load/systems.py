"""The systems under load: what each is, and how it is started and asked."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.harness.process import REPOSITORY, Worker, start_worker
from benchmarks.load.arrivals import DEADLINE_S
from benchmarks.load.messages import InProcess, OverHttp, Ready, Setup
from benchmarks.load.peers.models import DYNAMIC, PORTABLE, SINGLE
from benchmarks.load.server import listening

INFINITY = REPOSITORY / "build" / "peers" / "infinity" / "bin" / "infinity_emb"

# The way there and back is the caller's time too.
SERVER_TIMEOUT_S = 0.7 * DEADLINE_S
BOTH_LEVELS = "both levels, every window"
LEVEL_1 = "Level 1, first window"

Kind = Literal["lock", "async", "serve", "level1", "optimum", "infinity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemSpec:
    """One system; `model` is a variant of the bundle, or what a peer serves of its folder."""

    name: str
    title: str
    kind: Kind
    reads: str
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What all systems share. `peers` has the models of `benchmarks.load.peers.models`."""

    bundle: Path
    peers: Path
    texts: tuple[str, ...]
    threads: int
    scratch: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A started system: its asker, and the server's process id if it is another process."""

    spec: SystemSpec
    worker: Worker
    asker_pid: int
    server_pid: int | None

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that work for it."""
        return (self.asker_pid, *([] if self.server_pid is None else [self.server_pid]))


def systems_of(variant: str) -> tuple[SystemSpec, ...]:
    """The bundle in three ways, then what does no more than Level 1: hazgate's and the peers'."""

    def ours(name: str, title: str, kind: Kind) -> SystemSpec:
        return SystemSpec(name=name, title=title, kind=kind, reads=BOTH_LEVELS, model=variant)

    def level1(name: str, title: str, kind: Kind, model: str) -> SystemSpec:
        return SystemSpec(name=name, title=title, kind=kind, reads=LEVEL_1, model=model)

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


def absent_reason(spec: SystemSpec) -> str | None:
    """Why a system cannot be measured here, or None."""
    if spec.kind == "infinity" and not INFINITY.is_file():
        return f"not installed in {INFINITY.parents[1].relative_to(REPOSITORY)}"
    return None


@contextmanager
def started(spec: SystemSpec, around: Surroundings) -> Iterator[Running]:
    """Starts a system and its asker; both end with the block.

    Raises:
        WorkerFailed: one did not start.
    """
    openers: Mapping[Kind, Callable[[SystemSpec, Surroundings], _Server]] = {
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
            setup = Setup(texts=around.texts, gate=gate)
        else:
            how = openers[spec.kind](spec, around)
            server = stack.enter_context(
                listening(spec.title, how.command, how.ready_path, _environment(around), how.folder)
            )
            server_pid = server.pid
            setup = Setup(texts=around.texts, http=how.target(server.port))
        worker = stack.enter_context(
            start_worker(spec.title, ["-m", "benchmarks.load.asker"], threads=around.threads)
        )
        ready = worker.ask(setup, Ready)
        yield Running(spec=spec, worker=worker, asker_pid=ready.pid, server_pid=server_pid)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Server:
    command: Sequence[str | Path]
    ready_path: str
    target: Callable[[int], OverHttp]
    folder: Path | None = None


def _serve(spec: SystemSpec, around: Surroundings) -> _Server:
    config = around.scratch / f"{spec.name}.toml"
    config.write_text(serve_settings(spec.model, around.threads), encoding="utf-8")
    return _Server(
        command=[
            *(sys.executable, "-m", "hazgate", "serve"),
            *(around.bundle, "--config", config),
        ],
        ready_path="/health/ready",
        target=_hazgate_target,
    )


def _level1(spec: SystemSpec, around: Surroundings) -> _Server:
    return _Server(
        command=[
            *(sys.executable, _peer("level1_server"), around.bundle),
            *("--variant", spec.model, "--threads", str(around.threads)),
            *("--timeout-s", str(SERVER_TIMEOUT_S)),
        ],
        ready_path="/health/ready",
        target=_hazgate_target,
    )


def _optimum(spec: SystemSpec, around: Surroundings) -> _Server:
    return _Server(
        command=[
            *(sys.executable, _peer("optimum_server"), around.peers),
            *("--file", spec.model, "--threads", str(around.threads)),
        ],
        ready_path="/health",
        target=lambda port: OverHttp(port=port, path="/classify", text_field="text"),
    )


def _infinity(spec: SystemSpec, around: Surroundings) -> _Server:
    return _Server(
        command=[
            *(INFINITY, "v2", "--model-id", ".", "--served-model-name", "level1"),
            *("--engine", spec.model, "--device", "cpu", "--dtype", "float32"),
            *("--no-bettertransformer", "--log-level", "warning"),
        ],
        ready_path="/health",
        target=lambda port: OverHttp(
            port=port,
            path="/classify",
            text_field="input",
            is_list=True,
            fields={"model": "level1"},
        ),
        # Its optimum engine finds no file but by a path that starts here.
        folder=around.peers if spec.model == "torch" else around.peers / SINGLE,
    )


def serve_settings(variant: str, threads: int) -> str:
    """The configuration of `hazgate serve`, TOML."""
    return (
        f'[engine]\nvariant = "{variant}"\nthreads = {threads}\n'
        f"[request]\ntimeout_s = {SERVER_TIMEOUT_S}\n"
    )


def _hazgate_target(port: int) -> OverHttp:
    return OverHttp(port=port, path="/v1/check", text_field="text")


def _peer(module: str) -> Path:
    return REPOSITORY / "benchmarks" / "peers" / f"{module}.py"


def _environment(around: Surroundings) -> Mapping[str, str]:
    """Pools that are only set by it, and no question to any hub or cache of other models."""
    return {
        "OMP_NUM_THREADS": str(around.threads),
        "RAYON_NUM_THREADS": str(around.threads),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(around.scratch / "hub"),
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    }
