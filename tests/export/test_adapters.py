"""Adapters of every kind answer as PEFT does, merged and applied, or are refused by field."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from transformers import ModernBertConfig, ModernBertForSequenceClassification

from hazgate_export.errors import SourceError
from hazgate_export.model import adapter as adapter_files
from hazgate_export.model.merge import load_adapted, merge
from hazgate_export.proof.reference import torch_logits
from hazgate_export.recipe import BaseRecipe, DirectorySource
from tests.support.adapters import (
    BASE_ID,
    CASES,
    KINDS,
    edit_json,
    fetched,
    train_adapter,
    write_bert,
)

LABELS = ("safe", "unsafe")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("adapters") / "base")


def _recipe(**changes: str) -> BaseRecipe:
    table = {"id": BASE_ID, "family": "bert", "pooling": "cls"} | changes
    return BaseRecipe(**table, source=DirectorySource(directory=Path("base")))


def _load(
    base: Path,
    folder: Path,
    labels: tuple[str, ...] = LABELS,
    *,
    accept_base: str | None = None,
    revision: str | None = None,
) -> PeftModel:
    return load_adapted(
        fetched(base, BASE_ID, revision),
        fetched(folder, "test/l1"),
        _recipe(),
        labels,
        accept_base=accept_base,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_answers_as_peft_did_before_it_was_saved(
    base: Path, tmp_path: Path, kind: str
) -> None:
    trained = train_adapter(base, tmp_path, **KINDS[kind])
    adapted = _load(base, tmp_path)
    applied = torch_logits(adapted, CASES, "applied")
    np.testing.assert_allclose(applied, trained.logits, atol=1e-5)
    merged = torch_logits(merge(adapted), CASES, "merged")
    np.testing.assert_allclose(merged, trained.logits, atol=1e-4)
    plain = load_adapted(fetched(base, BASE_ID), fetched(tmp_path, "l1"), _recipe(), LABELS)
    without = torch_logits(plain.unload(), CASES, "base")
    assert np.abs(without - trained.logits).max() > 1e-2


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("rslora", {"use_rslora": False}),
        ("rank and alpha patterns", {"alpha_pattern": {}}),
        ("plain", {"lora_alpha": 9}),
    ],
)
def test_a_field_of_the_scale_that_is_lost_changes_the_logits(
    base: Path, tmp_path: Path, kind: str, changed: dict[str, object]
) -> None:
    trained = train_adapter(base, tmp_path, **KINDS[kind])
    edit_json(tmp_path / "adapter_config.json", **changed)
    moved = torch_logits(_load(base, tmp_path), CASES, "applied") - trained.logits
    assert np.abs(moved).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("dora", {"use_dora": False}),
        ("rank and alpha patterns", {"rank_pattern": {}}),
        ("bias of all", {"bias": "none"}),
        ("lora bias", {"lora_bias": False}),
        ("one layer", {"layers_to_transform": None, "layers_pattern": None}),
        ("several modules to save", {"modules_to_save": ["classifier"]}),
        ("parameters", {"target_parameters": None}),
        ("tokens", {"trainable_token_indices": None}),
    ],
)
def test_a_field_of_the_tensors_that_is_lost_stops_the_build(
    base: Path, tmp_path: Path, kind: str, changed: dict[str, object]
) -> None:
    train_adapter(base, tmp_path, **KINDS[kind])
    edit_json(tmp_path / "adapter_config.json", **changed)
    with pytest.raises(SourceError, match=r"its tensors are not those|does not fit"):
        _load(base, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "olora"),
        ("layer_replication", [[0, 2], [1, 2]]),
        ("alora_invocation_tokens", [5]),
        ("use_qalora", True),
        ("loftq_config", {"loftq_bits": 4}),
        ("kasa_config", {"a": 1}),
        ("arrow_config", {"a": 1}),
        ("monteclora_config", {"a": 1}),
        ("velora_config", {"a": 1}),
        ("use_bdlora", {"a": 1}),
        ("megatron_config", {"a": 1}),
        ("ensure_weight_tying", True),
        ("use_brand_new_mathematics", False),
        ("peft_type", "IA3"),
        ("task_type", "CAUSAL_LM"),
        ("task_type", "TOKEN_CLS"),
        ("auto_mapping", {"base_model_class": "BertForTokenClassification"}),
        ("r", None),
        ("lora_alpha", None),
        ("bias", "some"),
    ],
)
def test_a_field_that_is_not_computed_is_refused_by_name(
    base: Path, tmp_path: Path, field: str, value: object
) -> None:
    train_adapter(base, tmp_path)
    edit_json(tmp_path / "adapter_config.json", **{field: value})
    with pytest.raises(SourceError, match=field):
        _load(base, tmp_path)


def test_every_field_of_the_installed_peft_is_classified() -> None:
    tables = (
        adapter_files._COMPUTED,
        adapter_files._CHECKED,
        adapter_files._IRRELEVANT,
        adapter_files._MUST_BE_OFF,
    )
    classified = [name for table in tables for name in table]
    assert len(classified) == len(set(classified))
    assert {field.name for field in dataclasses.fields(LoraConfig)} <= set(classified)


def test_a_null_of_a_later_peft_is_a_feature_that_is_off(base: Path, tmp_path: Path) -> None:
    trained = train_adapter(base, tmp_path)
    edit_json(tmp_path / "adapter_config.json", some_new_config=None)
    np.testing.assert_allclose(
        torch_logits(_load(base, tmp_path), CASES, "applied"), trained.logits, atol=1e-5
    )


def test_labels_of_tokens_need_more_than_a_missing_task(base: Path, tmp_path: Path) -> None:
    train_adapter(base, tmp_path, **KINDS["no task"])
    edit_json(tmp_path / "adapter_config.json", auto_mapping=None)
    with pytest.raises(SourceError, match="those of tokens"):
        _load(base, tmp_path, ("O", "B-NAME"))
    assert _load(base, tmp_path) is not None


def test_a_name_of_the_base_is_accepted_only_if_the_recipe_says_exactly_it(
    base: Path, tmp_path: Path
) -> None:
    trained = train_adapter(base, tmp_path)
    edit_json(tmp_path / "adapter_config.json", base_model_name_or_path="/home/me/Bert")
    with pytest.raises(SourceError, match=r"/home/me/Bert.*is test/bert.*accept_base = \"/home/me"):
        _load(base, tmp_path)
    with pytest.raises(SourceError, match=r'accepts "/home/me/bert"'):
        _load(base, tmp_path, accept_base="/home/me/bert")
    accepted = _load(base, tmp_path, accept_base="/home/me/Bert")
    np.testing.assert_allclose(torch_logits(accepted, CASES, "applied"), trained.logits, atol=1e-5)


def test_an_adapter_that_names_no_base_needs_an_empty_acceptance(
    base: Path, tmp_path: Path
) -> None:
    train_adapter(base, tmp_path)
    edit_json(tmp_path / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(SourceError, match="a base without a name"):
        _load(base, tmp_path)
    assert _load(base, tmp_path, accept_base="") is not None


def test_another_commit_of_the_base_is_refused(base: Path, tmp_path: Path) -> None:
    train_adapter(base, tmp_path)
    edit_json(tmp_path / "adapter_config.json", revision="abcdef0")
    assert _load(base, tmp_path, revision="abcdef0" + "1" * 33) is not None
    assert _load(base, tmp_path) is not None
    with pytest.raises(SourceError, match=r"revision: .*abcdef0.*0123456"):
        _load(base, tmp_path, revision="0123456" + "1" * 33)


def test_a_base_with_a_head_of_another_width_takes_the_adapters_head(
    base: Path, tmp_path: Path
) -> None:
    wide = write_bert(tmp_path / "wide", n_labels=3)
    trained = train_adapter(wide, tmp_path / "adapter")
    adapted = _load(wide, tmp_path / "adapter")
    np.testing.assert_allclose(torch_logits(adapted, CASES, "applied"), trained.logits, atol=1e-5)


def test_a_product_for_a_head_of_another_width_is_refused_with_names_and_widths(
    base: Path, tmp_path: Path
) -> None:
    wide = write_bert(tmp_path / "wide", n_labels=3)
    train_adapter(base, tmp_path / "adapter", **KINDS["lora on the classifier"])
    with pytest.raises(SourceError) as caught:
        _load(wide, tmp_path / "adapter")
    assert "classifier.weight (3 x 32 in the base, 2 x 32 needed)" in str(caught.value)
    assert "classifier.bias (3 in the base, 2 needed)" in str(caught.value)


def test_a_bias_that_the_base_has_no_place_for_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = ModernBertConfig(
        vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=4, pad_token_id=0, bos_token_id=2, eos_token_id=1, cls_token_id=1,
        sep_token_id=1, classifier_pooling="mean", reference_compile=False,
    )  # fmt: skip
    ModernBertForSequenceClassification(config).save_pretrained(tmp_path / "base")
    train_adapter(
        tmp_path / "base", tmp_path / "adapter", lora_bias=True, target_modules=["attn.Wqkv"]
    )
    with pytest.raises(SourceError, match=r"cannot be merged|does not fit"):
        merge(
            load_adapted(
                fetched(tmp_path / "base", BASE_ID),
                fetched(tmp_path / "adapter", "test/l1"),
                _recipe(family="modernbert", pooling="mean"),
                LABELS,
            )
        )


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_that_cannot_be_read_are_refused(base: Path, tmp_path: Path, name: str) -> None:
    train_adapter(base, tmp_path)
    (tmp_path / name).write_bytes(b"[")
    with pytest.raises(SourceError, match=name):
        _load(base, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(SourceError, match=name):
        _load(base, tmp_path)
