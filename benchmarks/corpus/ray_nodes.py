"""Nodes of a Ray cluster on this machine, each with one processor."""

import os
import secrets
import shutil
import socket
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

_START_S = 120
_RAY = Path(sys.executable).with_name("ray")
_COUNT = (
    "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); "
    "print('alive', sum(node['Alive'] for node in ray.nodes()))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Where a cluster answers, and what the environment of whoever joins it or asks it holds."""

    address: str
    environment: Mapping[str, str]


@contextmanager
def cluster_of(n_nodes: int) -> Iterator[Cluster]:
    """So many nodes while the block runs.

    Raises:
        WorkerFailed: they are not there in time.
    """
    with ExitStack() as stack:
        found = stack.enter_context(head_node())
        for _ in range(n_nodes - 1):
            stack.enter_context(joined_node(found))
        wait_for_nodes(found, n_nodes)
        yield found


@contextmanager
def head_node() -> Iterator[Cluster]:
    """The first node of a cluster, alive."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Sockets lie below it, and their paths must be short.
    scratch = tempfile.mkdtemp(prefix="hz", dir="/tmp")
    arguments = ["--head", f"--port={port}", f"--temp-dir={scratch}", "--include-dashboard=false"]
    found = Cluster(
        address=f"127.0.0.1:{port}",
        environment={
            **os.environ,
            # Ray's statistics would be sent to its makers.
            "RAY_USAGE_STATS_ENABLED": "0",
            # It listens on every interface.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        },
    )
    try:
        with _node([], arguments, found):
            wait_for_nodes(found, 1)
            yield found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def joined_node(
    cluster: Cluster, within: Sequence[str] = ()
) -> Iterator["subprocess.Popen[bytes]"]:
    """One more node of a cluster, its command behind `within`."""
    with _node(within, [f"--address={cluster.address}"], cluster) as process:
        yield process


def wait_for_nodes(cluster: Cluster, n_nodes: int) -> None:
    """Returns once so many nodes are alive.

    Raises:
        WorkerFailed: they are not there in time.
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
    raise WorkerFailed(f"a Ray of {n_nodes} nodes was not there after {_START_S} s")


def kill_node(process: "subprocess.Popen[bytes]") -> None:
    """Kills a node with all that it started, as if its machine were gone."""
    with suppress(psutil.NoSuchProcess):
        family = [*psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()


@contextmanager
def _node(
    within: Sequence[str], arguments: list[str], cluster: Cluster
) -> Iterator["subprocess.Popen[bytes]"]:
    command = [*within, str(_RAY), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter's
        [*command, "--object-store-memory=80000000", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(cluster.environment),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_node(process)
