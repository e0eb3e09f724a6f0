"""Fixtures of the tests of evaluation."""

from pathlib import Path

import pytest

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from tests.support.spotter import write_spotter


@pytest.fixture(scope="session")
def spotting(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Return a gate that flags "morning" and "world"; see tests.support.spotter."""
    return Gate.open(
        write_spotter(tiny_bundle, tmp_path_factory.mktemp("spotter")),
        engine=EngineOptions(threads=1),
    )
