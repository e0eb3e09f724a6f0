"""The exporter's suites look at the bundle that this run builds, not at the committed one."""

from pathlib import Path

import pytest

from tests.support.few_texts import use_few_proof_texts


@pytest.fixture(scope="session")
def tiny_bundle(built_bundle: Path) -> Path:
    """The bundle that this run builds from `tiny_recipe`. Not to be changed."""
    return built_bundle


@pytest.fixture
def few_proof_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove builds on every twentieth text only, for tests of something else than parity."""
    use_few_proof_texts(monkeypatch)
