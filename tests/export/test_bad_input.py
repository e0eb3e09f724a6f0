"""Every kind of bad input stops a whole build with a named error, and leaves nothing behind.

What each error says in all its forms is in the tests of the module that refuses. Bundles whose
links lead to a device or a loop are in tests/runtime/test_places.
"""

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hazgate_export.build import build
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from tests.support.adapters import edit_json
from tests.support.rehearsals import rehearsed
from tests.support.vela import shard_in_bfloat16, vela_id, write_vela


@pytest.fixture(scope="module")
def vela(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vela")
    write_vela(folder)
    return folder


def _pickle_a_fraction(guard: Path) -> None:
    weights = guard / "model.safetensors"
    torch.save({**load_file(weights), "x": Fraction(1, 2)}, guard / "pytorch_model.bin")
    weights.unlink()


def _cut_a_shard(guard: Path) -> None:
    shard_in_bfloat16(guard)
    shard = guard / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])


def _index(guard: Path, file: str) -> None:
    shard_in_bfloat16(guard)
    index = guard / "model.safetensors.index.json"
    document = json.loads(index.read_text(encoding="utf-8"))
    document["weight_map"]["classifier.weight"] = file
    index.write_text(json.dumps(document), encoding="utf-8")


def _name_a_shard_outside(guard: Path) -> None:
    _index(guard, "../outside.safetensors")


def _name_a_shard_that_is_not_there(guard: Path) -> None:
    _index(guard, "model-00003-of-00002.safetensors")


def _mix_architectures(guard: Path) -> None:
    edit_json(guard / "config.json", position_buckets=256)


def _label_tokens(guard: Path) -> None:
    edit_json(guard / "config.json", architectures=["ModernBertForTokenClassification"])


def _behead(guard: Path) -> None:
    weights = guard / "model.safetensors"
    kept = {k: v for k, v in load_file(weights).items() if not k.startswith("classifier")}
    save_file(kept, weights, {"format": "pt"})


def _swap_labels(guard: Path) -> None:
    edit_json(guard / "label_mapping.json", label2id={"jailbreak": 0, "benign": 1})


def _link_to_a_device(guard: Path) -> None:
    (guard / "tokenizer.json").unlink()
    (guard / "tokenizer.json").symlink_to("/dev/zero")


def _link_to_a_loop(guard: Path) -> None:
    (guard / "tokenizer.json").unlink()
    (guard / "tokenizer.json").symlink_to("tokenizer.json")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_pickle_a_fraction, r"fractions"),
        (_cut_a_shard, r"model-00002-of-00002\.safetensors is damaged or cut off"),
        (_name_a_shard_outside, r"expected a \.safetensors file in its own folder"),
        (_name_a_shard_that_is_not_there, r"model-00003-of-00002\.safetensors.*not there"),
        (_mix_architectures, r"position_buckets: not understood"),
        (_label_tokens, r"ModernBertForTokenClassification"),
        (_behead, r"no trained values for classifier\.bias, classifier\.weight"),
        (_swap_labels, r"guard: the labels differ in names or order"),
        (_link_to_a_device, r"tokenizer\.json"),
        (_link_to_a_loop, r"tokenizer\.json"),
    ],
)
def test_a_bad_checkpoint_leaves_nothing_behind(
    vela: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    named: str,
) -> None:
    monkeypatch.setenv("HAZGATE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(vela / "Guard", tmp_path / "Guard")
    damage(tmp_path / "Guard")
    recipe = rehearsed("vela-guard", tmp_path, {vela_id("Guard"): "Guard"})
    _assert_refused(recipe, tmp_path / "out" / "bundle", named)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix == ".safetensors"]


def test_adapters_of_two_bases_in_one_cascade_leave_nothing_behind(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_recipe.parent, tmp_path / "sources")
    edit_json(tmp_path / "sources/level2/adapter_config.json", base_model_name_or_path="other/base")
    recipe = tmp_path / "sources" / tiny_recipe.name
    _assert_refused(recipe, tmp_path / "out" / "bundle", r"other/base")


def _assert_refused(recipe: Path, target: Path, named: str) -> None:
    target.parent.mkdir()
    before = _tree(recipe.parent)
    with pytest.raises(SourceError, match=named):
        build(load_recipe(recipe), target, LocalSources())
    assert not list(target.parent.iterdir())
    assert _tree(recipe.parent) == before


def _tree(folder: Path) -> list[str]:
    """List a folder's files, but those of the cache."""
    return sorted(str(path) for path in folder.rglob("*") if "cache" not in path.parts)
