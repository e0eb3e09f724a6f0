"""Nodes of a Ray cluster on this machine, each a tree of processes of its own."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.ports import free_port

_START_S = 120
_END_S = 30
_STORE_BYTES = 100_000_000
_RAY = Path(sys.executable).with_name("ray")
_COUNT = (
    "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); "
    "print('alive', sum(node['Alive'] for node in ray.nodes()))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RayNode:
    """`ray start --block` and all that it has started."""

    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """Kill the node as a power failure does: nothing of it runs on or says goodbye."""
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
        self.process.wait(_END_S)


@dataclass(frozen=True, kw_only=True, slots=True)
class RayCluster:
    """A cluster's address, and the environment of every process that joins or asks it."""

    address: str
    environment: Mapping[str, str]


@contextmanager
def cluster_of(n_nodes: int) -> Iterator[RayCluster]:
    """Run a cluster of `n_nodes` while the block runs, one processor each.

    Raises:
        WorkerFailed: they were not there in time.
    """
    with ExitStack() as stack:
        found = stack.enter_context(head_node())
        for _ in range(n_nodes - 1):
            stack.enter_context(joined_node(found))
        wait_for_nodes(found, n_nodes)
        yield found


@contextmanager
def head_node() -> Iterator[RayCluster]:
    """Run the first node of a cluster; it is alive when the block begins."""
    port = free_port()
    # Sockets are below it, and their paths must be short.
    scratch = tempfile.mkdtemp(prefix="hz", dir="/tmp")
    arguments = ["--head", f"--port={port}", f"--temp-dir={scratch}", "--include-dashboard=false"]
    found = RayCluster(
        address=f"127.0.0.1:{port}",
        environment={
            **os.environ,
            # Ray would send statistics to its makers.
            "RAY_USAGE_STATS_ENABLED": "0",
            # It listens on every interface.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        },
    )
    try:
        with ray_node(["--num-cpus=1", *arguments], found.environment):
            wait_for_nodes(found, 1)
            yield found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def joined_node(cluster: RayCluster, within: Sequence[str] = ()) -> Iterator[RayNode]:
    """Run one more node of a cluster; `within` is put in front of its command."""
    arguments = ["--num-cpus=1", f"--address={cluster.address}"]
    with ray_node(arguments, cluster.environment, within=within) as node:
        yield node


def wait_for_nodes(cluster: RayCluster, n_nodes: int) -> None:
    """Return once `n_nodes` are alive.

    Raises:
        WorkerFailed: they were not there in time.
    """
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        asked = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _COUNT, cluster.address],
            env=dict(cluster.environment),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if f"alive {n_nodes}" in asked.stdout:
            return
    raise WorkerFailed(f"a Ray cluster of {n_nodes} nodes was not ready after {_START_S} s")


@contextmanager
def ray_node(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    within: Sequence[str] = (),
    log: Path | None = None,
) -> Iterator[RayNode]:
    """Run `ray start --block ARGUMENTS` while the block runs; kill it with all it has started.

    Args:
        arguments: of `ray start`.
        environment: the whole environment of the node.
        within: a command to put in front, such as one that enters a namespace.
        log: receives what the node prints; None drops it.
    """
    command = [*within, str(_RAY), "start", "--block", "--disable-usage-stats"]
    with ExitStack() as stack:
        output = subprocess.DEVNULL if log is None else stack.enter_context(log.open("ab"))
        process = subprocess.Popen(  # noqa: S603 - our own interpreter's
            [*command, f"--object-store-memory={_STORE_BYTES}", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    node = RayNode(process=process)
    try:
        yield node
    finally:
        node.kill()
