"""Fixtures that several suites share.

The suites of tests/runtime and tests/gateway run on the committed bundle, in an environment without
the exporter. Bundles that are built are built once per run, also when several workers share it.
"""

import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

import hypothesis
import pytest

from tests.support.shared import make_once
from tests.support.tiny import unpack_tiny_bundle, write_tiny_recipe

ROOT = Path(__file__).parents[1]


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("hazgate", deadline=None)
hypothesis.settings.load_profile("hazgate")


def pytest_configure(config: pytest.Config) -> None:
    # Before anything is collected: huggingface_hub reads it once, when it is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Tests import ONNX Runtime themselves; none shall report to its makers.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # A warning of the tokenizers about forked processes would land in the stderr under test.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if importlib.util.find_spec("torch") is not None:
        # Raised inside torch and transformers about their own use of TorchScript.
        config.addinivalue_line("filterwarnings", "ignore::torch.jit.TracerWarning")
    if "PYTEST_XDIST_WORKER" in os.environ:
        _take_own_processors()


def _take_own_processors() -> None:
    """Give this worker processors of its own, and the processes that its tests start.

    Libraries start a thread per processor, and threads that wait for each other's turn burn time.
    """
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, mine[worker % workers :: workers] or mine)
    else:
        threads = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The first worker begins with these and builds the small model; the second does other work.
    items.sort(key=lambda item: "mini_bundle" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed bundle of tests.support.tiny. Not to be changed; see `bundle_copy`."""
    return unpack_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_bundle` for one test to damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


@pytest.fixture(scope="session")
def early_spotter(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of tests.support.early_spotter. Not to be changed."""
    pytest.importorskip("hazgate_kernels", reason="built only where there is a C++ compiler")
    # Imported here: not every suite needs onnx.
    from tests.support.early_spotter import write_early_spotter

    return write_early_spotter(tiny_bundle, tmp_path_factory.mktemp("early"))


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of `tiny_bundle`, next to its sources."""
    return make_once(tmp_path_factory, "tiny-sources", write_tiny_recipe) / "tiny.toml"


@pytest.fixture(scope="session")
def built_bundle(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that this run builds from `tiny_recipe`. Not to be changed."""
    return (
        make_once(tmp_path_factory, "built", lambda folder: _build(tiny_recipe, folder)) / "bundle"
    )


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the project's own small model. Not to be changed.

    `make` says in MINI_BUNDLE where a current one is; otherwise this run builds it.
    """
    recipe = ROOT / "export" / "recipes" / "mini.toml"
    built = os.environ.get("MINI_BUNDLE")
    if built is not None:
        return _made_of(recipe, ROOT / built)
    return make_once(tmp_path_factory, "mini", lambda folder: _build(recipe, folder)) / "bundle"


def _made_of(recipe: Path, root: Path) -> Path:
    """Return a bundle's root if this recipe, these adapters and these libraries made it."""
    from hazgate import Bundle
    from hazgate.documents.files import sha256
    from hazgate_export.bundle.describe import TOOLS

    manifest = Bundle.open(root).manifest
    stated = {
        **manifest.provenance,
        **{name: level.adapter and level.adapter.sha256 for name, level in manifest.levels.items()},
    }
    adapters = ROOT / "export" / "adapters"
    here = {
        "recipe_sha256": sha256(recipe),
        **{tool: importlib.metadata.version(tool) for tool in TOOLS},
        **{
            name: sha256(adapters / f"mini-{name}" / "adapter_model.safetensors")
            for name in manifest.levels
        },
    }
    stale = [name for name, value in here.items() if stated.get(name) != value]
    assert not stale, f"{root} was built from another {', '.join(stale)}; run make export"
    return root


def _build(recipe: Path, folder: Path) -> None:
    from hazgate_export.build import build
    from hazgate_export.model.sources import LocalSources
    from hazgate_export.recipe_file import load_recipe

    build(load_recipe(recipe), folder / "bundle", LocalSources())
