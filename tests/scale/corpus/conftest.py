"""Fixtures of the corpus suite."""

from pathlib import Path

import pytest

from hazgate import Gate


@pytest.fixture(scope="session")
def tiny_gate(tiny_bundle: Path) -> Gate:
    """The gate of the tiny bundle, as a worker opens it."""
    return Gate.open(tiny_bundle, threads=1)
