"""Fixtures that several suites share; each bundle is built once a run."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.tiny import write_tiny_recipe

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    # Before anything is collected: huggingface_hub reads it once, when it is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # A warning of the tokenizers about forked processes would land in the stderr under test.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of a tiny BERT with random weights, its sources beside it."""
    return write_tiny_recipe(tmp_path_factory.mktemp("tiny-sources"))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `tiny_recipe`. Not to be changed; see `bundle_copy`."""
    return _build(tiny_recipe, tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the project's own small model. Not to be changed."""
    recipe = ROOT / "export" / "recipes" / "mini.toml"
    return _build(recipe, tmp_path_factory.mktemp("mini") / "bundle")


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_bundle` of the test's own, to damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def _build(recipe: Path, target: Path) -> Path:
    from hazgate_export.build import build
    from hazgate_export.model.sources import LocalSources
    from hazgate_export.recipe import load_recipe

    return build(load_recipe(recipe), target, LocalSources()).bundle.root
