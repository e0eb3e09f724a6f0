"""The installed transformers computes every field as the file says it, or the build stops."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from hazgate_export.errors import SourceError
from hazgate_export.model import installed
from hazgate_export.model.architecture import Architecture, ModernBertArchitecture, Rotary
from hazgate_export.model.config import load_config
from hazgate_export.model.installed import conform, pretrained_config
from tests.support.transformers5 import GOLDENS

FAMILIES = ("modernbert", "bert", "roberta", "xlm-roberta", "deberta-v2")
# Fields of the architecture that the installed configurations spell otherwise, with another value.
SPELLED: Mapping[str, tuple[str, object]] = {
    "layer_types": ("global_attn_every_n_layers", 2),
    "full_attention": ("global_rope_theta", 5000.0),
    "sliding_attention": ("local_rope_theta", 5000.0),
    "norm_rel_ebd": ("norm_rel_ebd", "none"),
}


@cache
def architecture(case: str) -> Architecture:
    return load_config(GOLDENS / case, case).architecture


def made(config: PretrainedConfig) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
        config, attn_implementation="eager"
    )
    return model


def differences(model: PreTrainedModel, case: str) -> str:
    with pytest.raises(SourceError, match=r"reads its config.json otherwise") as raised:
        conform(model, architecture(case), "test/model")
    return str(raised.value)


def other(name: str, value: object) -> object:
    """Return another value with which a model can still be made."""
    if isinstance(value, bool):
        return not value
    if name == "pad_token_id" or value == -1:
        return 5
    if isinstance(value, int):
        return value * 2 or 2
    if isinstance(value, float):
        return value * 2
    if isinstance(value, str):
        return {"gelu": "relu", "mean": "cls", "absolute": "relative_key"}[value]
    assert isinstance(value, list | tuple)
    return list(value[:1])


def wrong(case: str, field: str) -> tuple[str, object]:
    """Return the name and another value of a field in the installed configuration."""
    if field in SPELLED:
        return SPELLED[field]
    return field, other(field, getattr(architecture(case), field))


FIELDS = [
    (case, field.name)
    for case in FAMILIES
    for field in dataclasses.fields(architecture(case))
    if field.name != "family"
]


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDENS.iterdir()))
def test_a_model_made_of_the_architecture_conforms(case: str) -> None:
    conform(made(pretrained_config(architecture(case))), architecture(case), "test/model")


@pytest.mark.parametrize(("case", "field"), FIELDS)
def test_a_field_that_the_library_read_otherwise_stops_the_build(case: str, field: str) -> None:
    model = made(pretrained_config(architecture(case)))
    name, value = wrong(case, field)
    setattr(model.config, name, value)
    assert f"{field}: expected " in differences(model, case)


@pytest.mark.parametrize(("case", "field"), FIELDS)
def test_a_field_that_the_exporter_spells_otherwise_stops_the_build(
    monkeypatch: pytest.MonkeyPatch, case: str, field: str
) -> None:
    """The model and the configuration that it is compared with would share such a fault."""
    correct = pretrained_config
    name, value = wrong(case, field)

    def misspelled(
        architecture: Architecture, dropout: Mapping[str, Any] | None = None
    ) -> PretrainedConfig:
        config = correct(architecture, dropout)
        setattr(config, name, value)
        return config

    monkeypatch.setattr(installed, "pretrained_config", misspelled)
    if field in ("num_hidden_layers", "layer_types"):
        # A model of so many layers has nothing to set the architecture's attention on.
        model = made(correct(architecture(case)))
        setattr(model.config, name, value)
    else:
        model = made(misspelled(architecture(case)))
    assert f"{field}: expected " in differences(model, case)


def _layer_types(config: PretrainedConfig) -> None:
    config.layer_types = ["full_attention"] * 4


def _rope_parameters(config: PretrainedConfig) -> None:
    plain = {"rope_type": "default", "rope_theta": 160000.0}
    config.rope_parameters = {
        "full_attention": plain,
        "sliding_attention": {**plain, "rope_theta": 10000.0},
    }


def _lost_yarn(config: PretrainedConfig) -> None:
    plain = {"rope_type": "default", "rope_theta": 160000.0}
    del config.global_rope_theta, config.local_rope_theta
    config.rope_parameters = {
        "full_attention": plain,
        "sliding_attention": {**plain, "rope_theta": 10000.0},
    }


@pytest.mark.parametrize(
    ("case", "change", "named"),
    [
        ("modernbert", _layer_types, "layer_types: contradicts global_attn_every_n_layers"),
        ("modernbert", _rope_parameters, "10000 contradicts local_rope_theta: 160000"),
        ("modernbert-yarn", _lost_yarn, "full_attention: expected Rotary(theta=160000.0, yarn=Ya"),
    ],
)
def test_the_spelling_of_transformers_5_is_compared_too(
    case: str, change: Callable[[PretrainedConfig], None], named: str
) -> None:
    model = made(pretrained_config(architecture(case)))
    change(model.config)
    assert named in differences(model, case)


def test_layers_in_no_period_are_compared_layer_by_layer() -> None:
    """transformers 4 has no words for them, so its configuration says nothing of them."""
    irregular = architecture("modernbert-irregular")
    model = made(pretrained_config(irregular))
    assert isinstance(irregular, ModernBertArchitecture)
    conform(model, irregular, "test/model")
    assert irregular.full_attention is not None
    slower = dataclasses.replace(irregular, full_attention=Rotary(theta=1e6, yarn=None))
    with pytest.raises(SourceError, match=r"full_attention: expected Rotary\(theta=1000000\.0"):
        conform(made(pretrained_config(irregular)), slower, "test/model")
