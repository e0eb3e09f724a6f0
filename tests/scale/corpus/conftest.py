"""Fixtures of the corpus suite."""

from pathlib import Path

import pytest

from hazgate import Gate
from hazgate.engine.options import EngineOptions


@pytest.fixture(scope="session")
def tiny_gate(tiny_bundle: Path) -> Gate:
    """The gate of the tiny bundle, as a worker opens it."""
    return Gate.open(tiny_bundle, engine=EngineOptions(threads=1))
