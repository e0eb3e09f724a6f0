"""A results file with numbers that can be checked by hand."""

from pathlib import Path

import pytest

from benchmarks.harness.store import Comparison, load

COMPARISON_FILE = Path(__file__).with_name("comparison.json")


@pytest.fixture
def comparison() -> Comparison:
    """Three systems, two token counts, real texts one by one and in bulk, three rounds."""
    return load(Comparison, COMPARISON_FILE)
