"""Fixtures of the tests of a gate that serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from tests.support.served import served
from tests.support.spotter import write_spotter


@pytest.fixture(scope="session")
def spotting(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Return a gate that flags "morning" and "world"; see tests.support.spotter."""
    return Gate.open(
        write_spotter(tiny_bundle, tmp_path_factory.mktemp("served")),
        engine=EngineOptions(threads=1),
    )


@pytest.fixture(scope="module")
def client(spotting: Gate) -> Iterator[TestClient]:
    """Return a client of a server with the gate of `spotting`."""
    with served(spotting) as client:
        yield client
