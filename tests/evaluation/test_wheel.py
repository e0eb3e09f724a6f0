"""The wheel of hazgate-evaluation: its package and data, and no library of training."""

import importlib.metadata
from pathlib import Path

import pytest

from hazgate_evaluation import __version__
from tests.support.wheels import build_wheel, expected_names, names_in

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runtime" / "evaluation" / "hazgate_evaluation"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(PACKAGE.parent, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_its_data_and_its_metadata_only(wheel: Path) -> None:
    data = sorted(PACKAGE.glob("templates/*"))
    assert data
    assert names_in(wheel) == expected_names(PACKAGE, __version__, data)


def test_no_requirement_brings_a_library_of_training(wheel: Path) -> None:
    (metadata,) = importlib.metadata.distributions(name="hazgate-evaluation", path=[str(wheel)])
    required = {each.partition(" ")[0].lower() for each in metadata.requires or ()}
    assert required
    assert not any(name in each for name in ("torch", "transformers") for each in required)
