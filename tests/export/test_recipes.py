"""Each shipped recipe is rehearsed on stand-ins with the files that its trainer writes."""

import json
import shutil
from pathlib import Path

import pytest

from hazgate import Classifier
from hazgate.engine.options import EngineOptions
from hazgate_export.build import build
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe import HubSource, load_recipe
from tests.support.rehearsals import BASE_32K, LEVELS_32K, RECIPES, rehearsed, write_32k

REPOSITORIES = {
    "jailbreak-32k": ("jailbreak", "llm-semantic-router/mmbert32k-jailbreak-detector-lora"),
    "intent-32k": ("intent", "llm-semantic-router/mmbert32k-intent-classifier-lora"),
    "fact-check-32k": ("fact_check", "llm-semantic-router/mmbert32k-factcheck-classifier-lora"),
}
# A local path that the trainer saved; the recipe's own line says that it is the same base.
ACCEPTED = {"intent-32k": 'accept_base = "/data/mmbert-32k-yarn"'}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rehearsals")
    write_32k(folder)
    return folder


def _recipe(name: str, folder: Path, insert: str = "") -> Path:
    level, hub = REPOSITORIES[name]
    sources = {"vllm-sr/mmbert-32k-yarn": "base", hub: level}
    return rehearsed(name, folder, sources, insert=insert)


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_32k_recipe_builds_one_level_with_its_trainers_labels(name: str, written: Path) -> None:
    level, _ = REPOSITORIES[name]
    recipe = _recipe(name, written, ACCEPTED.get(name, ""))
    bundle = build(load_recipe(recipe), written / f"{name}-bundle", LocalSources()).bundle
    manifest = bundle.manifest
    assert manifest.levels[level].labels == tuple(LEVELS_32K[level])
    places = manifest.provenance[f"{level}.labels"]
    assert "label_mapping.json" in places
    assert places.count("_mapping.json") == 4
    assert "lora_config" not in places
    classifier = Classifier.open(bundle.root, engine=EngineOptions(variant="fp32", threads=1))
    (answer,) = classifier.classify(["How do plants make sugar?"])
    assert set(answer.scores) == set(LEVELS_32K[level])


def test_a_local_path_as_base_stops_the_build_with_the_line_to_write(written: Path) -> None:
    recipe = _recipe("intent-32k", written)
    with pytest.raises(SourceError) as caught:
        build(load_recipe(recipe), written / "none", LocalSources())
    assert BASE_32K in str(caught.value)
    assert ACCEPTED["intent-32k"] in str(caught.value)
    assert not (written / "none").exists()


def test_labels_numbered_otherwise_than_the_recipe_says_stop_the_build(
    written: Path, tmp_path: Path
) -> None:
    shutil.copytree(written / "base", tmp_path / "base")
    shutil.copytree(written / "fact_check", tmp_path / "fact_check")
    # As a trainer that sorts them would.
    numbers = {"FACT_CHECK_NEEDED": 0, "NO_FACT_CHECK_NEEDED": 1}
    for name in ("label_mapping.json", "fact_check_mapping.json"):
        (tmp_path / "fact_check" / name).write_text(json.dumps({"label_to_idx": numbers}))
    recipe = _recipe("fact-check-32k", tmp_path)
    with pytest.raises(SourceError, match="0       NO_FACT_CHECK_NEEDED  FACT_CHECK_NEEDED"):
        build(load_recipe(recipe), tmp_path / "none", LocalSources())


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.toml")), ids=lambda file: file.stem)
def test_a_recipe_is_named_as_its_file_and_pins_its_base(file: Path) -> None:
    recipe = load_recipe(file).recipe
    assert recipe.name == file.stem
    source = recipe.base.source
    assert not isinstance(source, HubSource) or len(source.revision) == 40
