"""Fixtures of the runtime's suites."""

from pathlib import Path

import pytest

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from tests.support.spotter import write_spotter


@pytest.fixture(scope="session")
def spotter(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of tests.support.spotter. Not to be changed."""
    return write_spotter(tiny_bundle, tmp_path_factory.mktemp("spotter"))


@pytest.fixture(scope="session")
def spotting(spotter: Path) -> Gate:
    """The gate of `spotter`."""
    return Gate.open(spotter, engine=EngineOptions(threads=1))
