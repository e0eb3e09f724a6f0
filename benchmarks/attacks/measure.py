"""Measures each attack: a quiet turn, then a turn of the same length beside the attack."""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.attacks.attacks import BY_NAME
from benchmarks.attacks.messages import Attacked, AttackerReady, AttackerSetup, AttackRequest
from benchmarks.attacks.results import AttackFigures, AttackResults, HonestFigures, figures_of
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.ports import free_port
from benchmarks.harness.process import Worker, start_worker
from benchmarks.harness.processors import pinned, shared_out
from benchmarks.harness.server import Server, ServerCommand, running
from benchmarks.harness.store import header
from benchmarks.harness.texts import shuffled_texts
from benchmarks.load.arrivals import DEADLINE_S, arrivals
from benchmarks.load.messages import AskerReady, AskerRequest, AskerSetup, AskResults, OverHttp
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track

_SEED = 20268
# Longer texts would make the quiet p99 their own.
_MOST_CHARACTERS = 200
# The server gets over an attack, and the caller's turns are even again.
_REST_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Battlefield:
    """A server under attack, its attacker, and the honest asker."""

    server: Server
    attacker: Worker
    honest: Worker
    n_texts: int

    @property
    def rss_bytes(self) -> int:
        """The server's resident set."""
        return int(psutil.Process(self.server.process.pid).memory_info().rss)


def measure_attacks(
    bundle: Path,
    names: Sequence[str],
    *,
    seconds: float,
    rate: float,
    runtime: Path | None,
    label: str,
    command: str,
) -> Iterator[AttackResults]:
    """Attack a server of its own with each attack; yield all that is measured after each.

    Args:
        bundle: what is served.
        names: of the attacks.
        seconds: length of each turn.
        rate: honest requests a second.
        runtime: folder of another checkout's `hazgate` package; None serves by this one's.
        label: says which server it is.
        command: what a reader types to repeat it; recorded.

    Raises:
        HazgateError: the bundle cannot be served.
        BenchmarkError: an attack is unknown, or the server did not start, or it ended.
    """
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise BenchmarkError(f"no attack {', '.join(unknown)}; known are {', '.join(BY_NAME)}")
    opened = Bundle.open(bundle)
    found: list[AttackFigures] = []
    for name in track(list(names), "attack"):
        # A server that one attack has damaged must not answer for the next.
        with battlefield(bundle, opened.manifest.name, runtime=runtime) as field:
            found.append(_measure(field, name, seconds, rate))
        yield AttackResults(
            header=header(opened.manifest.name, command, digest=opened.digest),
            label=label,
            seconds=seconds,
            rate=rate,
            deadline_s=DEADLINE_S,
            attacks=tuple(found),
        )


@contextmanager
def battlefield(
    bundle: Path, model: str, *, config: str = "", runtime: Path | None = None
) -> Iterator[Battlefield]:
    """Serve a bundle, with an attacker and an honest asker in processes of their own.

    Args:
        bundle: what is served.
        model: its name.
        config: settings of the server besides the port of gRPC, in TOML.
        runtime: as of `measure_attacks`.

    Raises:
        WorkerFailed: a process did not start.
    """
    texts = [text for text in shuffled_texts() if len(text) <= _MOST_CHARACTERS]
    with tempfile.TemporaryDirectory() as scratch:
        grpc_port = free_port()
        file = Path(scratch) / "serve.toml"
        file.write_text(f"grpc_port = {grpc_port}\n{config}", encoding="utf-8")
        started = ServerCommand(
            name="hazgate serve",
            command=[sys.executable, "-m", "hazgate", "serve", bundle.resolve(), "--config", file],
            ready_path="/health/ready",
            environment={} if runtime is None else {"PYTHONPATH": str(runtime.resolve())},
            folder=Path(scratch),
        )
        # Attackers have machines of their own; here, they must not take the server's processors.
        processors = shared_out()
        with ExitStack() as stack:
            with pinned(processors.measured):
                server = stack.enter_context(running(started))
            with pinned(processors.askers):
                attacker = stack.enter_context(
                    start_worker("attacker", ["-m", "benchmarks.attacks.attacker"], threads=1)
                )
                honest = stack.enter_context(
                    start_worker("asker", ["-m", "benchmarks.load.asker"], threads=1)
                )
            setup = AttackerSetup(
                port=server.port, grpc_port=grpc_port, pid=server.process.pid, model=model
            )
            attacker.ask(setup, AttackerReady)
            http = OverHttp(port=server.port, path="/v1/check", text_field="text")
            honest.ask(AskerSetup(texts=tuple(texts), http=http), AskerReady)
            yield Battlefield(server=server, attacker=attacker, honest=honest, n_texts=len(texts))


@contextmanager
def attacking(field: Battlefield, request: AttackRequest) -> Iterator[list[Attacked]]:
    """Attack while the block runs, but at least as long as the request says; yield the reply."""
    replies: list[Attacked] = []
    thread = threading.Thread(target=lambda: replies.append(field.attacker.ask(request, Attacked)))
    thread.start()
    try:
        yield replies
    finally:
        thread.join()


def _measure(field: Battlefield, name: str, seconds: float, rate: float) -> AttackFigures:
    _turn(field, min(seconds, 2.0), rate, seed=0)
    quiet = _turn(field, seconds, rate, seed=1)
    with attacking(field, AttackRequest(names=(name,), seconds=seconds + _REST_S)) as replies:
        time.sleep(_REST_S / 2)
        attacked = _turn(field, seconds, rate, seed=2)
    if not replies:
        raise BenchmarkError(f"{name}: the attacker ended")
    if field.server.process.poll() is not None:
        raise BenchmarkError(f"{name}: the server ended with {field.server.process.returncode}")
    return AttackFigures(
        name=name,
        quiet=quiet,
        attacked=attacked,
        n_acts=replies[0].n_acts,
        rss_bytes=field.rss_bytes,
    )


def _turn(field: Battlefield, seconds: float, rate: float, *, seed: int) -> HonestFigures:
    times = tuple(arrivals(rate, seconds, _SEED + seed))
    first = (seed * len(times)) % field.n_texts
    found = field.honest.ask(AskerRequest(action="offer", times=times, first=first), AskResults)
    return figures_of(found.taken_s)
