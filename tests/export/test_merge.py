"""Only an adapter that belongs to its base, with a trained head that fits, is merged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hazgate_export.errors import SourceError
from hazgate_export.model.merge import load_adapted, merge
from hazgate_export.model.sources import Fetched
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.texts import Case
from hazgate_export.recipe import BaseRecipe, DirectorySource
from tests.support.families import LEVELS, write_family

LABELS = LEVELS["level1"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merge")
    write_family(folder, "bert")
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of the sources of this test's own."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def _fetched(folder: Path, name: str, id: str) -> Fetched:  # noqa: A002
    return Fetched(directory=folder / name, id=id, revision=None, sha256="0" * 64)


def _recipe(family: str = "bert", pooling: str = "cls") -> BaseRecipe:
    return BaseRecipe.model_validate(
        {
            "id": "test/bert",
            "family": family,
            "pooling": pooling,
            "source": DirectorySource(directory=Path("base")),
        }
    )


def _load(folder: Path, labels: tuple[str, ...] = LABELS, **recipe: str) -> object:
    base, adapter = _fetched(folder, "base", "test/bert"), _fetched(folder, "level1", "test/l1")
    return load_adapted(base, adapter, _recipe(**recipe), labels)


def _edit_json(file: Path, **values: object) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**data, **values}), encoding="utf-8")


def _edit_tensors(
    file: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    save_file({k: v.clone() for k, v in edit(load_file(file)).items()}, file)


def test_merged_equals_adapter_applied_and_differs_from_the_base(folder: Path) -> None:
    base, adapter = _fetched(folder, "base", "test/bert"), _fetched(folder, "level1", "test/l1")
    cases = [Case(id="a", is_text=True, input_ids=(2, 50, 60, 70, 1))]
    adapted = load_adapted(base, adapter, _recipe(), LABELS)
    applied = torch_logits(adapted, cases, "applied")
    merged = merge(adapted)
    np.testing.assert_allclose(torch_logits(merged, cases, "merged"), applied, atol=1e-4)
    without = load_adapted(base, adapter, _recipe(), LABELS).unload()
    assert np.abs(torch_logits(without, cases, "base") - applied).max() > 1e-2


def test_label_names_are_written_into_the_configuration(folder: Path) -> None:
    base, adapter = _fetched(folder, "base", "test/bert"), _fetched(folder, "level1", "test/l1")
    config = merge(load_adapted(base, adapter, _recipe(), LABELS)).config
    assert config.id2label == {0: "safe", 1: "unsafe"}
    assert config.label2id == {"safe": 0, "unsafe": 1}
    assert config.problem_type == "single_label_classification"


def test_an_adapter_for_another_base_is_refused(folder: Path) -> None:
    _edit_json(folder / "level1/adapter_config.json", base_model_name_or_path="other/base")
    with pytest.raises(SourceError, match="trained on other/base"):
        _load(folder)


def test_an_adapter_of_another_shape_is_refused_even_if_it_claims_the_base(folder: Path) -> None:
    def shrink(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: v[:, :16] if "lora_A" in k else v for k, v in tensors.items()}

    _edit_tensors(folder / "level1/adapter_model.safetensors", shrink)
    with pytest.raises(SourceError, match="does not fit"):
        _load(folder)


def test_a_number_of_labels_that_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="2 outputs, but 3 labels are named: a, b, c"):
        _load(folder, labels=("a", "b", "c"))


def test_an_adapter_without_its_trained_head_is_refused(folder: Path) -> None:
    def behead(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: v for k, v in tensors.items() if "classifier" not in k}

    _edit_tensors(folder / "level1/adapter_model.safetensors", behead)
    with pytest.raises(SourceError, match="no trained classification head"):
        _load(folder)


def test_a_head_layer_that_nobody_trained_is_refused(folder: Path) -> None:
    def without_pooler(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: v for k, v in tensors.items() if "pooler" not in k}

    _edit_tensors(folder / "base/model.safetensors", without_pooler)
    with pytest.raises(SourceError, match="newly initialised"):
        _load(folder)


def test_missing_lora_tensors_are_refused(folder: Path) -> None:
    def forget(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: v for k, v in tensors.items() if "layer.0.attention.self.query" not in k}

    _edit_tensors(folder / "level1/adapter_model.safetensors", forget)
    with pytest.raises(SourceError, match="2 missing"):
        _load(folder)


def test_another_family_or_pooling_than_the_recipe_says_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="family roberta"):
        _load(folder, family="roberta")
    with pytest.raises(SourceError, match="mean pooling"):
        _load(folder, pooling="mean")


def test_an_adapter_of_another_kind_is_refused_with_all_reasons(folder: Path) -> None:
    _edit_json(folder / "level1/adapter_config.json", peft_type="IA3", task_type="CAUSAL_LM")
    with pytest.raises(SourceError) as caught:
        _load(folder)
    assert "IA3" in str(caught.value)
    assert "CAUSAL_LM" in str(caught.value)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    def poison(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        key = next(k for k in tensors if "lora_B" in k)
        return {**tensors, key: torch.full_like(tensors[key], float("nan"))}

    _edit_tensors(folder / "level1/adapter_model.safetensors", poison)
    base, adapter = _fetched(folder, "base", "test/bert"), _fetched(folder, "level1", "test/l1")
    with pytest.raises(SourceError, match="cannot be merged"):
        merge(load_adapted(base, adapter, _recipe(), LABELS))
