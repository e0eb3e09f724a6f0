"""Fixtures of the suites around a gate that others run."""

from pathlib import Path

import pytest

from tests.support.spotter import write_spotter


@pytest.fixture(scope="session")
def spotter(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that flags "morning" and "world"; see tests.support.spotter."""
    return write_spotter(tiny_bundle, tmp_path_factory.mktemp("fleet"))
