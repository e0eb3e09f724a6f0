"""Configurations of transformers 4 and 5 are read field by field, or refused by name."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import ModernBertConfig

from hazgate_export.errors import SourceError
from hazgate_export.model.architecture import (
    ModernBertArchitecture,
    architecture_json,
    architecture_sha256,
)
from hazgate_export.model.config import load_config, read_config
from hazgate_export.model.installed import pretrained_config
from hazgate_export.model.irrelevant import FAMILY_IRRELEVANT, IRRELEVANT
from tests.support.families import architecture_of, families
from tests.support.transformers5 import GOLDENS

CASES = sorted(folder.name for folder in GOLDENS.iterdir())
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}


def saved_by_5(case: str) -> dict[str, Any]:
    """Return the configuration that transformers 5 saved."""
    document: dict[str, Any] = json.loads((GOLDENS / case / "config.json").read_text("utf-8"))
    return document


def saved_by_4(family: str) -> dict[str, Any]:
    """Return a configuration as transformers 4 saves it."""
    document: dict[str, Any] = json.loads(json.dumps(families()[family].config.to_diff_dict()))
    return document


def modernbert_of_4(**changes: object) -> dict[str, Any]:
    return {**saved_by_4("modernbert"), **changes}


def modernbert_of_5(**changes: object) -> dict[str, Any]:
    return {**saved_by_5("modernbert"), **changes}


def problems_of(document: Mapping[str, object]) -> str:
    with pytest.raises(SourceError) as raised:
        read_config(document, "test/model")
    return str(raised.value)


@pytest.mark.parametrize("case", CASES)
def test_files_of_transformers_5_are_read(case: str) -> None:
    document = saved_by_5(case)
    config = load_config(GOLDENS / case, case)
    assert config.architecture.family == document["model_type"]
    assert config.architecture.vocab_size == document["vocab_size"]
    assert config.token_ids["pad"] == document["pad_token_id"]


@pytest.mark.parametrize("family", families())
def test_files_of_transformers_4_are_read(family: str) -> None:
    architecture = read_config(saved_by_4(family), family).architecture
    assert architecture == architecture_of(families()[family].config)


def test_both_spellings_of_a_modernbert_are_one_architecture() -> None:
    old = {
        "global_rope_theta": 160000,
        "local_rope_theta": 10000.0,
        "global_attn_every_n_layers": 3,
        "torch_dtype": "float32",
    }
    new = modernbert_of_5(
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        dtype="float32",
    )
    without = {k: v for k, v in new.items() if k not in ("rope_parameters", "layer_types", "dtype")}
    assert read_config({**without, **old}, "old") == read_config(new, "new")
    assert read_config({**new, **old}, "both") == read_config(new, "new")


def test_the_figures_of_mmbert_are_the_files_not_the_librarys() -> None:
    """transformers 4.57 reads 10,000 for the windows of such a file, and drops YaRN."""
    document = saved_by_5("modernbert-yarn-everywhere")
    assert ModernBertConfig(**document).local_rope_theta == 10000.0
    architecture = read_config(document, "test/model").architecture
    assert isinstance(architecture, ModernBertArchitecture)
    assert architecture.sliding_attention is not None
    assert architecture.sliding_attention.theta == 160000.0
    assert architecture.sliding_attention.yarn is not None
    assert architecture.sliding_attention.yarn.attention_factor == 1.25


def test_local_theta_of_none_is_the_global_one() -> None:
    architecture = read_config(modernbert_of_4(local_rope_theta=None), "x").architecture
    assert isinstance(architecture, ModernBertArchitecture)
    assert architecture.sliding_attention == architecture.full_attention


def test_real_files_carry_fields_that_no_release_reads() -> None:
    document = modernbert_of_4(
        position_embedding_type="sans_pos",
        layer_norm_eps=1e-5,
        mask_token_id=4,
        unk_token_id=3,
        gradient_checkpointing=False,
    )
    config = read_config(document, "jhu-clsp/mmBERT-base")
    assert config.architecture == architecture_of(families()["modernbert"].config)
    assert config.token_ids["mask"] == 4


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rope_theta": 10000.0}, "rope_theta: not understood"),
        ({"auto_map": {}}, "auto_map: not understood"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: not understood"),
        ({"hidden_size": None}, "hidden_size: expected a whole number"),
        ({"hidden_size": "32"}, "hidden_size: expected a whole number of at least 1, got '32'"),
        ({"norm_eps": float("nan")}, "norm_eps: expected a number above 0"),
        ({"norm_bias": "no"}, "norm_bias: expected true or false"),
        ({"layer_norm_eps": 1e-12}, "norm_eps: 1e-05 contradicts layer_norm_eps: 1e-12"),
        ({"hidden_activation": "gelu_10"}, "hidden_activation: expected one of"),
        ({"classifier_pooling": "max"}, "classifier_pooling: expected one of 'cls', 'mean'"),
        ({"num_attention_heads": 3}, "num_attention_heads: 3 do not divide"),
        ({"is_decoder": True}, "is_decoder: expected False, got True"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads: expected {}"),
        ({"dtype": "int8"}, "dtype: expected 'float32' or 'float16' or 'bfloat16', got 'int8'"),
        ({"dtype": "float16"}, "dtype: 'float16' contradicts torch_dtype: 'float32'"),
        ({"pad_token_id": 6500}, "pad_token_id: expected an id from 0 to 6499, got 6500"),
        ({"global_rope_theta": None}, "expected it or global_rope_theta, got neither"),
        ({"global_attn_every_n_layers": None}, "layer_types: expected it or"),
        ({"rope_scaling": {**YARN, "rope_type": "linear"}}, "rope_scaling.rope_type: expected one"),
        ({"rope_scaling": {**YARN, "truncate": False}}, "rope_scaling.truncate: expected True"),
        ({"rope_scaling": {**YARN, "factor": 0.5}}, "rope_scaling.factor: expected a number of at"),
        ({"rope_scaling": {**YARN, "scale": 2}}, "rope_scaling.scale: not understood"),
        ({"rope_scaling": {**YARN, "type": "default"}}, "'yarn' contradicts type: 'default'"),
        ({"rope_scaling": [4.0]}, "rope_scaling: expected an object"),
    ],
)
def test_a_field_of_transformers_4_that_is_not_understood_is_named(
    changes: dict[str, object], named: str
) -> None:
    assert named in problems_of(modernbert_of_4(torch_dtype="float32", **changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"local_rope_theta": 10000.0}, "rope_theta: 160000 contradicts local_rope_theta: 10000"),
        ({"global_attn_every_n_layers": 2}, "layer_types: contradicts global_attn_every_n_layers"),
        ({"layer_types": ["full_attention"]}, "layer_types: has 1 layers, num_hidden_layers is 4"),
        ({"layer_types": ["conv"] * 4}, "layer_types: expected a list of"),
        ({"rope_scaling": YARN}, "rope_type: it and its figures contradict rope_scaling"),
        ({"rope_parameters": {"rope_theta": 1e4}}, "rope_parameters.rope_theta: expected only"),
        ({"rope_parameters": None}, "expected it or local_rope_theta, got neither"),
        ({"per_layer_config": {}}, "per_layer_config: expected"),
    ],
)
def test_a_field_of_transformers_5_that_is_not_understood_is_named(
    changes: dict[str, object], named: str
) -> None:
    assert named in problems_of(modernbert_of_5(**changes))


def test_yarn_that_transformers_5_lost_is_refused() -> None:
    """It writes `rope_type: default` beside the older `type: yarn`, and computes the former."""
    lost = {**YARN, "type": "yarn", "rope_type": "default", "rope_theta": 160000.0}
    named = problems_of(modernbert_of_5(rope_parameters={"full_attention": lost}))
    assert "rope_parameters.full_attention.rope_type: 'default' contradicts type: 'yarn'" in named


def test_every_problem_is_named_at_once() -> None:
    named = problems_of(modernbert_of_4(hidden_size=0, norm_bias=3, flash=True, is_decoder=True))
    assert named.count("\n") == 4
    assert named.startswith("test/model: ")


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'; expected one of modernbert, bert"),
        ({}, "model_type None"),
        ({"model_type": ["bert"]}, "model_type ['bert']"),
    ],
)
def test_another_family_is_refused(document: dict[str, object], named: str) -> None:
    assert named in problems_of(document)


def test_relative_positions_of_a_release_that_ignores_them_are_refused() -> None:
    document = {**saved_by_5("bert"), "position_embedding_type": "relative_key"}
    assert "position_embedding_type" in problems_of(document)
    read_config({**document, "transformers_version": "4.57.6"}, "x")


@pytest.mark.parametrize("content", ["", "[]", "{", "\ud800"])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(SourceError, match=r"test/model: .*config.json"):
        load_config(tmp_path, "test/model")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"config.json cannot be read"):
        load_config(tmp_path, "test/model")


def _changed(value: object) -> list[object]:
    """List other values of the same kind."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2 + 2]
    if isinstance(value, float):
        return [value * 2 + 0.5, value + 1.0]
    if isinstance(value, str):
        return [f"{value}x", {"gelu": "relu", "mean": "cls", "cls": "mean"}.get(value, "tanh")]
    if isinstance(value, list):
        return [[*reversed(value), *value[:1]], value[1:], list(reversed(value))]
    return [{}, None]


def _leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _leaves(value[key], (*path, key))]
    return [path]


FIELDS = [(case, path) for case in CASES for path in _leaves(saved_by_5(case))]


@given(field=st.sampled_from(FIELDS), data=st.data())
def test_every_field_changes_the_digest_or_stops_the_build_or_is_known_to_do_nothing(
    field: tuple[str, tuple[str, ...]], data: st.DataObject
) -> None:
    case, path = field
    document = saved_by_5(case)
    place = mutated = copy.deepcopy(document)
    for key in path[:-1]:
        place = place[key]
    before = place[path[-1]]
    after: object = data.draw(st.sampled_from(_changed(before)))
    place[path[-1]] = after
    try:
        read = read_config(mutated, case)
    except SourceError as error:
        if path[0] not in str(error):
            raise
        return
    original = read_config(document, case)
    family = document["model_type"]
    known = frozenset().union(*IRRELEVANT.values(), FAMILY_IRRELEVANT[family])
    if (
        path[0] in known
        or after == before
        or (isinstance(after, list) and path[0] == "pos_att_type" and set(after) == {*before})
    ):
        assert read.architecture == original.architecture
    elif path[0].endswith("_token_id") and path[0] != "pad_token_id":
        assert read.token_ids != original.token_ids
    else:
        assert architecture_sha256(read.architecture) != architecture_sha256(original.architecture)


@pytest.mark.parametrize("case", CASES)
def test_the_canonical_form_is_one_line_with_every_figure(case: str) -> None:
    text = architecture_json(load_config(GOLDENS / case, case).architecture)
    assert "\n" not in text
    assert json.loads(text)["vocab_size"] == 96


@pytest.mark.parametrize("case", ["modernbert", "bert", "roberta", "xlm-roberta", "deberta-v2"])
def test_the_installed_spelling_is_read_as_the_same_architecture(case: str) -> None:
    architecture = load_config(GOLDENS / case, case).architecture
    spelled = pretrained_config(architecture).to_dict()
    assert read_config(spelled, case).architecture == architecture
