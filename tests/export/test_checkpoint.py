"""Levels of whole checkpoints: one file, shards or a pickle, in any floating-point type."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from hazgate import Bundle
from hazgate_export.build import build
from hazgate_export.errors import RecipeError, SourceError
from hazgate_export.model.load import load_level
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.recipe import LoadedRecipe
from hazgate_export.recipe_file import load_recipe
from tests.support.families import LEVELS, write_family
from tests.support.published import pickle_base


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and adapters, and whole classifiers in `whole-LEVEL`."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_family(folder, "modernbert")
    for seed, (name, labels) in enumerate(LEVELS.items()):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder / "base", num_labels=len(labels)
        )
        model.save_pretrained(folder / f"whole-{name}")
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(folder / "base" / file, folder / f"whole-{name}" / file)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """The checkpoints for one test to damage."""
    for name in LEVELS:
        shutil.copytree(written / f"whole-{name}", tmp_path / f"whole-{name}")
    return tmp_path


def _recipe(written: Path, folder: Path, edit: Callable[[str], str] = str) -> LoadedRecipe:
    text = (written / "recipe.toml").read_text(encoding="utf-8")
    text = text.replace('source = { directory = "base" }\n', "")
    for name in LEVELS:
        text = text.replace(f'{{ directory = "{name}" }}', f'{{ directory = "whole-{name}" }}')
    text = text.replace("adapter_id =", "checkpoint_id =").replace("adapter =", "checkpoint =")
    # One variant is enough to see that the checkpoint reaches the bundle.
    start, end = text.index("[variants.int8]"), text.index("[parity]")
    text = (text[:start] + text[end:]).replace("129]", "]")
    (folder / "recipe.toml").write_text(edit(text), encoding="utf-8")
    return load_recipe(folder / "recipe.toml")


def _load(written: Path, folder: Path) -> PreTrainedModel:
    loaded = _recipe(written, folder)
    sources = fetch_levels(loaded, ["level2"], LocalSources(), folder / "staged")
    model = load_level(sources["level2"], loaded.recipe, "level2")
    assert isinstance(model, PreTrainedModel)
    return model


def _assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_bundle_is_built_from_whole_checkpoints(
    written: Path, folder: Path, few_proof_texts: None
) -> None:
    built = build(_recipe(written, folder), folder / "bundle", LocalSources())
    level = Bundle.open(folder / "bundle").manifest.levels["level2"]
    assert level.adapter is None
    assert level.base.id == "test/modernbert-level2"
    assert "model.safetensors" in (level.base.files or ())
    assert "[levels.level2.checkpoint]" in built.pins
    assert "[base.source]" not in built.pins


def _shard(place: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(place)
    (place / "model.safetensors").unlink()
    model.save_pretrained(place, max_shard_size="100KB")
    assert len(list(place.glob("model-*.safetensors"))) > 1


def _pickle_shards(place: Path) -> None:
    _shard(place)
    index = json.loads((place / "model.safetensors.index.json").read_text())
    (place / "model.safetensors.index.json").unlink()
    for file in list(place.glob("model-*.safetensors")):
        torch.save(load_file(file), place / f"pytorch_{file.stem}.bin")
        file.unlink()
    index["weight_map"] = {
        name: f"pytorch_{file.removesuffix('.safetensors')}.bin"
        for name, file in index["weight_map"].items()
    }
    (place / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("change", [_shard, pickle_base])
def test_each_form_of_files_gives_the_same_model(
    written: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
) -> None:
    monkeypatch.setenv("HAZGATE_CACHE", str(folder / "cache"))
    expected = _load(written, folder).state_dict()
    change(folder / "whole-level2")
    _assert_equal(_load(written, folder).state_dict(), expected)


@pytest.mark.slow
def test_pickled_shards_give_the_same_model(
    written: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAZGATE_CACHE", str(folder / "cache"))
    expected = _load(written, folder).state_dict()
    _pickle_shards(folder / "whole-level2")
    _assert_equal(_load(written, folder).state_dict(), expected)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_float32(written: Path, folder: Path, kind: torch.dtype) -> None:
    place = folder / "whole-level2"
    halved = {name: tensor.to(kind) for name, tensor in _weights(place).items()}
    save_file(halved, place / "model.safetensors", {"format": "pt"})
    config = json.loads((place / "config.json").read_text())
    config["dtype"] = str(kind).removeprefix("torch.")
    (place / "config.json").write_text(json.dumps(config))
    model = _load(written, folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    state = model.state_dict()
    for name, tensor in halved.items():
        np.testing.assert_array_equal(state[name].numpy(), tensor.float().numpy())


def _weights(place: Path) -> dict[str, torch.Tensor]:
    return load_file(place / "model.safetensors")


def _drop_head(weights: dict[str, torch.Tensor]) -> None:
    del weights["classifier.weight"], weights["classifier.bias"]


def _narrow_head(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.weight"] = weights["classifier.weight"][:3].contiguous()
    weights["classifier.bias"] = weights["classifier.bias"][:3].contiguous()


def _add(weights: dict[str, torch.Tensor]) -> None:
    weights["score.weight"] = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop_head, r"no trained values for classifier\.bias, classifier\.weight"),
        (_narrow_head, r"its classifier\.weight is 3 x 32, 9 labels need 9 x 32"),
        (_add, r"no place for score\.weight"),
    ],
)
def test_a_head_that_is_missing_or_another_is_refused(
    written: Path, folder: Path, damage: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    place = folder / "whole-level2"
    weights = _weights(place)
    damage(weights)
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(SourceError, match=message):
        _load(written, folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        # The same tensors: nothing else tells a classifier of tokens from one of texts.
        (
            "architectures",
            ["ModernBertForTokenClassification"],
            r"says architectures \['ModernBertForTokenClassification'\], expected a class that",
        ),
        ("architectures", ["ModernBertForMaskedLM"], r"expected a class that ends in ForSequence"),
        ("problem_type", "regression", "its outputs are no labels' logits"),
        ("problem_type", "multi_label_classification", 'write activation = "sigmoid" into the le'),
    ],
)
def test_a_head_of_another_kind_is_refused(
    written: Path, folder: Path, field: str, value: object, message: str
) -> None:
    file = folder / "whole-level2" / "config.json"
    config = json.loads(file.read_text())
    assert config["architectures"] == ["ModernBertForSequenceClassification"]
    file.write_text(json.dumps({**config, field: value}))
    with pytest.raises(SourceError, match=message):
        _load(written, folder)
    file.write_text(json.dumps({k: v for k, v in config.items() if k != "architectures"}))
    _load(written, folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../outside.safetensors", "expected a .safetensors file in its own folder"),
        ("/etc/passwd", "expected a .safetensors file in its own folder"),
        ("training_args.bin", "expected a .safetensors file in its own folder"),
        ("model-9.safetensors", "which is not there"),
        (7, "expected a .safetensors file in its own folder"),
    ],
)
def test_an_index_names_shards_of_its_own_folder(
    written: Path, folder: Path, file: object, message: str
) -> None:
    place = folder / "whole-level2"
    _shard(place)
    shutil.copy(next(place.glob("model-*")), folder / "outside.safetensors")
    index_file = place / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    index["weight_map"]["classifier.weight"] = file
    index_file.write_text(json.dumps(index))
    with pytest.raises(SourceError, match=message):
        _load(written, folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": 3}'])
def test_an_index_without_a_map_is_refused(written: Path, folder: Path, text: str) -> None:
    place = folder / "whole-level2"
    _shard(place)
    (place / "model.safetensors.index.json").write_text(text)
    with pytest.raises(SourceError, match=r"model\.safetensors\.index\.json"):
        _load(written, folder)


def test_shards_must_hold_what_the_index_says(written: Path, folder: Path) -> None:
    place = folder / "whole-level2"
    _shard(place)
    first, *_ = sorted(place.glob("model-*.safetensors"))
    weights = load_file(first)
    name = sorted(weights)[0]
    weights["stowaway"] = weights.pop(name)
    save_file(weights, first, {"format": "pt"})
    with pytest.raises(SourceError, match=rf"{name}.*stowaway"):
        _load(written, folder)
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(SourceError, match=rf"{first.name} is damaged or cut off"):
        _load(written, folder)
    (place / "model.safetensors.index.json").unlink()
    with pytest.raises(SourceError, match=r"shards without model\.safetensors\.index\.json"):
        _load(written, folder)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("checkpoint_id =", "adapter_id =", "adapter and adapter_id go together"),
        (
            "checkpoint =",
            'adapter_id = "x"\nadapter = { directory = "x" }\ncheckpoint =',
            "expected either adapter or checkpoint",
        ),
        (
            'pooling = "mean"',
            'pooling = "mean"\nsource = { directory = "b" }',
            "no base is read",
        ),
        ("checkpoint_id =", 'accept_base = "x"\ncheckpoint_id =', "accept_base: a checkpoint"),
    ],
)
def test_a_level_is_an_adapter_or_a_checkpoint(
    written: Path, folder: Path, old: str, new: str, problem: str
) -> None:
    with pytest.raises(RecipeError, match=problem):
        _recipe(written, folder, lambda text: text.replace(old, new, 1))


def test_an_adapter_needs_a_base_to_adapt(written: Path, tmp_path: Path) -> None:
    text = (written / "recipe.toml").read_text(encoding="utf-8")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text.replace('source = { directory = "base" }\n', ""), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"base\.source: required"):
        load_recipe(recipe)
