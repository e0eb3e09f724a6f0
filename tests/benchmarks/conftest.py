"""A results file whose figures can be checked by hand."""

from pathlib import Path

import pytest

from benchmarks.harness.store import load
from benchmarks.speed.results import SpeedResults

COMPARISON_FILE = Path(__file__).with_name("comparison.json")


@pytest.fixture
def comparison() -> SpeedResults:
    """Return three systems, two token counts, real texts one by one and in bulk, three rounds."""
    return load(SpeedResults, COMPARISON_FILE)
