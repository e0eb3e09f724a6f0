"""The exporter's suites look at the bundle that this run builds, not at the committed one."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_bundle(built_bundle: Path) -> Path:
    """The bundle that this run builds from `tiny_recipe`. Not to be changed."""
    return built_bundle
