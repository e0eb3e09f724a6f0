"""A server and a model, for the gateways of these tests."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.ports import free_port
from benchmarks.harness.server import Server, serving
from tests.gateway.clients.kit import Model
from tests.support.spotter import write_spotter


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that flags "morning" and "world"; see tests.support.spotter."""
    return write_spotter(tiny_bundle, tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session")
def grpc_port() -> int:
    """Return the port on which `server` answers gRPC."""
    return free_port()


@pytest.fixture(scope="session")
def server(bundle: Path, grpc_port: int) -> Iterator[Server]:
    """Run a server that no test changes."""
    with serving(bundle, "--grpc-port", str(grpc_port)) as running:
        yield running


@pytest.fixture(scope="session")
def llm() -> Iterator[Model]:
    """Run the model behind every gateway."""
    with Model() as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture
def model(llm: Model) -> Model:
    """Return the model, with no prompts received yet."""
    llm.asked.clear()
    return llm
