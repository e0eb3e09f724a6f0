"""A Ray cluster on this host that runs Serve."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.ports import free_port
from benchmarks.harness.ray_nodes import RayNode, ray_node

_BIN = Path(sys.executable).parent
_ROOT = Path(__file__).parents[2]
_READY_S = 180


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A head without replicas, where the dashboard and Serve's proxy listen."""

    address: str
    dashboard: str
    url: str
    folder: Path
    nodes: ExitStack

    def add_node(self, n_cpus: int) -> RayNode:
        """Add a node for replicas."""
        return self.nodes.enter_context(
            _node(self.folder, "--address", self.address, "--num-cpus", str(n_cpus))
        )

    def deploy(self, config: Path) -> None:
        """Run `serve deploy`, which returns before anything has changed."""
        done = subprocess.run(
            [_BIN / "serve", "deploy", config, "--address", self.dashboard],
            env=_environment(),
            capture_output=True,
            timeout=_READY_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()

    def status(self) -> Mapping[str, Any]:
        """Return Serve's status of the only application."""
        with urllib.request.urlopen(
            f"{self.dashboard}/api/serve/applications/", timeout=_READY_S
        ) as answer:
            (status,) = json.load(answer)["applications"].values()
        assert isinstance(status, dict)
        return status

    def replicas(self) -> list[Mapping[str, Any]]:
        """Return the replicas of the only deployment."""
        (deployment,) = self.status()["deployments"].values()
        found: list[Mapping[str, Any]] = deployment["replicas"]
        return found

    def wait_until(self, holds: Callable[[Mapping[str, Any]], bool]) -> None:
        """Wait for a state of the application."""
        until = time.monotonic() + _READY_S
        status: Mapping[str, Any] = {}
        while time.monotonic() < until:
            try:
                status = self.status()
                if holds(status):
                    return
            except (urllib.error.URLError, ConnectionError, ValueError):
                pass
            time.sleep(0.2)
        raise AssertionError(f"not within {_READY_S} s: {json.dumps(status)}")


def is_running(status: Mapping[str, Any]) -> bool:
    """Return true once the application is as its configuration says."""
    return bool(status["status"] == "RUNNING")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run a cluster below `folder`, whose name must be short; end all of it afterwards."""
    port, dashboard, http = free_port(), free_port(), free_port()
    with ExitStack() as nodes:
        nodes.enter_context(
            _node(
                folder,
                "--head",
                *("--port", str(port)),
                *("--dashboard-port", str(dashboard)),
                *("--dashboard-agent-listen-port", str(free_port())),
                *("--temp-dir", os.fspath(folder / "ray")),
                *("--num-cpus", "0"),
            )
        )
        running = Cluster(
            address=f"127.0.0.1:{port}",
            dashboard=f"http://127.0.0.1:{dashboard}",
            url=f"http://127.0.0.1:{http}",
            folder=folder,
            nodes=nodes,
        )
        _wait_for(f"{running.dashboard}/api/serve/applications/", folder)
        yield running


@contextmanager
def _node(folder: Path, *arguments: str) -> Iterator[RayNode]:
    log = folder / f"node-{free_port()}.log"
    local = ["--node-ip-address", "127.0.0.1", *arguments]
    with ray_node(local, _environment(), log=log) as node:
        _wait_until_joined(node.process, log)
        yield node


def _wait_until_joined(process: "subprocess.Popen[bytes]", log: Path) -> None:
    # One node after another: two that start at once on a busy machine may not be heard in time.
    while b"Ray runtime started" not in log.read_bytes():
        assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.1)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        # Else a token that this user has for other clusters would be asked for by this one.
        "RAY_AUTH_MODE": "disabled",
        # A test does not wait ten seconds for a figure.
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "PATH": f"{_BIN}:{os.environ['PATH']}",
        # Replicas that fail when they are told to are a test's own.
        "PYTHONPATH": os.fspath(_ROOT),
    }


def _wait_for(url: str, folder: Path) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    # The folder is removed with the cluster.
    logs = sorted((folder / "ray" / "session_latest" / "logs").glob("dashboard*.*"))
    tails = (f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)
    raise AssertionError("\n".join([f"no dashboard within {_READY_S} s", *tails]))
