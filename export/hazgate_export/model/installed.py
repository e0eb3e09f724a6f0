"""The installed transformers, told what an architecture is: the one place that knows its release.

Optimum's exporter (optimum-onnx 0.1.0) needs transformers 4; its classes cannot spell all that
transformers 5 saves. What they cannot spell is set on the loaded model; then everything that the
library made of the architecture is compared with it.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from transformers import (
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)
from transformers.models.modernbert.modeling_modernbert import (
    ModernBertAttention,
    ModernBertRotaryEmbedding,
)

from hazgate_export.errors import SourceError
from hazgate_export.model.architecture import (
    Architecture,
    BertArchitecture,
    DebertaV2Architecture,
    LayerType,
    ModernBertArchitecture,
    Rotary,
)
from hazgate_export.model.config import read_config
from hazgate_export.model.irrelevant import DROPOUT
from hazgate_export.model.rotary import attention_factor, inverse_frequencies

_BERTS: Mapping[str, type[PretrainedConfig]] = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "xlm-roberta": XLMRobertaConfig,
}


def pretrained_config(
    architecture: Architecture, dropout: Mapping[str, Any] | None = None
) -> PretrainedConfig:
    """Spell an architecture as the installed transformers reads it.

    Args:
        architecture: the architecture.
        dropout: settings for training; none where the model only answers.
    """
    settings = dropout or {}
    if isinstance(architecture, ModernBertArchitecture):
        return ModernBertConfig(**_modernbert_fields(architecture), **settings)
    if isinstance(architecture, BertArchitecture):
        return _BERTS[architecture.family](**_bert_fields(architecture), **settings)
    return DebertaV2Config(**_deberta_fields(architecture), **settings)


def conform(model: PreTrainedModel, architecture: Architecture, id: str) -> None:  # noqa: A002
    """Set on a model loaded with `pretrained_config` what that cannot spell, and compare the rest.

    Args:
        model: the model, changed in place.
        architecture: what it must compute.
        id: the model's name, for errors.

    Raises:
        SourceError: the library made something else of the architecture; names every difference.
    """
    if isinstance(architecture, ModernBertArchitecture):
        _set_attention(model, architecture)
        differences = list(_attention_differences(model, architecture))
    else:
        differences = []
    differences += [*_config_differences(model, architecture), *_differences(model, architecture)]
    if differences:
        raise SourceError(
            f"{id}: the installed transformers reads its config.json otherwise than "
            f"hazgate-export: {'; '.join(differences)}; install the release that "
            "hazgate-export[build] names"
        )


def _modernbert_fields(a: ModernBertArchitecture) -> dict[str, Any]:
    thetas = [rotary.theta for rotary in (a.full_attention, a.sliding_attention) if rotary]
    return {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": len(a.layer_types),
        # Layers in no period are set on the model.
        "global_attn_every_n_layers": _period(a.layer_types) or 1,
        "num_attention_heads": a.num_attention_heads,
        "max_position_embeddings": a.max_position_embeddings,
        "global_rope_theta": thetas[0],
        "local_rope_theta": thetas[-1],
        "local_attention": a.local_attention,
        "norm_eps": a.norm_eps,
        "norm_bias": a.norm_bias,
        "attention_bias": a.attention_bias,
        "mlp_bias": a.mlp_bias,
        "hidden_activation": a.hidden_activation,
        "classifier_pooling": a.classifier_pooling,
        "classifier_bias": a.classifier_bias,
        "classifier_activation": a.classifier_activation,
        "pad_token_id": a.pad_token_id,
        # Defaults that point outside a small vocabulary.
        "bos_token_id": None,
        "eos_token_id": None,
        "cls_token_id": None,
        "sep_token_id": None,
        # torch.compile inside the model cannot be traced.
        "reference_compile": False,
    }


def _bert_fields(a: BertArchitecture) -> dict[str, Any]:
    return {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "num_hidden_layers": a.num_hidden_layers,
        "num_attention_heads": a.num_attention_heads,
        "intermediate_size": a.intermediate_size,
        "max_position_embeddings": a.max_position_embeddings,
        "type_vocab_size": a.type_vocab_size,
        "hidden_act": a.hidden_act,
        "layer_norm_eps": a.layer_norm_eps,
        "position_embedding_type": a.position_embedding_type,
        "pad_token_id": a.pad_token_id,
    }


def _deberta_fields(a: DebertaV2Architecture) -> dict[str, Any]:
    return {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "embedding_size": a.embedding_size,
        "num_hidden_layers": a.num_hidden_layers,
        "num_attention_heads": a.num_attention_heads,
        "attention_head_size": a.attention_head_size,
        "intermediate_size": a.intermediate_size,
        "max_position_embeddings": a.max_position_embeddings,
        "type_vocab_size": a.type_vocab_size,
        "hidden_act": a.hidden_act,
        "layer_norm_eps": a.layer_norm_eps,
        "relative_attention": a.relative_attention,
        "max_relative_positions": a.max_relative_positions,
        "position_buckets": a.position_buckets,
        "pos_att_type": list(a.pos_att_type),
        "share_att_key": a.share_att_key,
        "norm_rel_ebd": "|".join(a.norm_rel_ebd) or "none",
        "position_biased_input": a.position_biased_input,
        "conv_kernel_size": a.conv_kernel_size,
        "conv_groups": a.conv_groups,
        "conv_act": a.conv_act,
        "pooler_hidden_size": a.pooler_hidden_size,
        "pooler_hidden_act": a.pooler_hidden_act,
        "pad_token_id": a.pad_token_id,
    }


def _set_attention(model: PreTrainedModel, architecture: ModernBertArchitecture) -> None:
    """Give each layer its window and rotary positions.

    Transformers 4 knows one period of layers and one stretching for all of them. The frequencies
    are computed by the library, not here: the graphs' own are compared with them.
    """
    for layer, kind in zip(_attentions(model), architecture.layer_types, strict=True):
        rotary = architecture.rotary(kind)
        config = copy.deepcopy(layer.config)
        config.rope_theta = rotary.theta
        config.rope_scaling = _rope_scaling(rotary)
        # Declared as the class of flash attention, which is never used here.
        cast(torch.nn.Module, layer).rotary_emb = ModernBertRotaryEmbedding(config=config)
        layer.local_attention = _window(architecture, kind)


def _window(architecture: ModernBertArchitecture, kind: LayerType) -> tuple[int, int]:
    """Return the tokens that a layer sees to each side, as transformers 4 spells them."""
    if kind == "full_attention":
        return (-1, -1)
    reach = architecture.local_attention // 2
    return (reach, reach)


def _rope_scaling(rotary: Rotary) -> dict[str, float | str] | None:
    if rotary.yarn is None:
        return None
    return {
        "rope_type": "yarn",
        "factor": rotary.yarn.factor,
        "original_max_position_embeddings": rotary.yarn.original_max_position_embeddings,
        "beta_fast": rotary.yarn.beta_fast,
        "beta_slow": rotary.yarn.beta_slow,
        "attention_factor": rotary.yarn.attention_factor,
    }


def _attentions(model: PreTrainedModel) -> list[ModernBertAttention]:
    return [module for module in model.modules() if isinstance(module, ModernBertAttention)]


def _config_differences(model: PreTrainedModel, architecture: Architecture) -> Iterator[str]:
    """Compare the model's configuration with the architecture, and with what it was given.

    It is read as a file would be, in either spelling: what it was given may be misspelled.
    """
    try:
        made = read_config(model.config.to_dict(), "the model").architecture
    except SourceError as error:
        yield str(error)
        return
    wanted = _as_carried(architecture, model.config)
    if type(made) is not type(wanted):
        yield f"family: expected {wanted.family}, got {made.family}"
        return
    names = [field.name for field in dataclasses.fields(wanted)]
    for name in names:
        expected, got = getattr(wanted, name), getattr(made, name)
        if got != expected:
            yield f"{name}: expected {expected!r}, got {got!r}"
    given = pretrained_config(architecture)
    for name, value in given.to_dict().items():
        if name in _SET_BY_CALLERS or name in DROPOUT or name in names:
            continue
        got = getattr(model.config, name, None)
        if got != getattr(given, name, None):
            yield f"{name}: expected {value!r}, got {got!r}"


def _as_carried(architecture: Architecture, config: PretrainedConfig) -> Architecture:
    """Reduce an architecture to what this configuration has words for.

    The rest is compared on the layers.
    """
    if not isinstance(architecture, ModernBertArchitecture) or hasattr(config, "rope_parameters"):
        return architecture
    # Transformers 4 states a base for every kind of layer, and no stretching.
    thetas = [r.theta for r in (architecture.full_attention, architecture.sliding_attention) if r]
    kinds = architecture.layer_types
    if _period(kinds) is None:
        kinds = tuple("full_attention" for _ in kinds)
    return dataclasses.replace(
        architecture,
        layer_types=kinds,
        full_attention=Rotary(theta=thetas[0], yarn=None),
        sliding_attention=Rotary(theta=thetas[-1], yarn=None),
    )


def _period(layer_types: Sequence[LayerType]) -> int | None:
    """Find every how many layers one sees the whole text; None if that does not tell."""
    for period in range(1, len(layer_types) + 1):
        if all(
            (kind == "full_attention") == (i % period == 0) for i, kind in enumerate(layer_types)
        ):
            return period
    return None


# Of the labels and of loading, not of the architecture.
_SET_BY_CALLERS = frozenset(
    (
        "_name_or_path",
        "architectures",
        "dtype",
        "id2label",
        "label2id",
        "problem_type",
        "transformers_version",
    )
)


def _differences(model: PreTrainedModel, architecture: Architecture) -> Iterator[str]:
    """Compare the model's parts with the architecture."""
    if isinstance(architecture, ModernBertArchitecture):
        eps = architecture.norm_eps
    else:
        eps = architecture.layer_norm_eps
    found = {module.eps for module in model.modules() if isinstance(module, torch.nn.LayerNorm)}
    if found - {eps}:
        yield f"epsilon of norms: expected {eps}, got {sorted(found)}"
    rows = cast(torch.nn.Embedding, model.get_input_embeddings()).weight.shape[0]
    if rows != architecture.vocab_size:
        yield f"rows of the embeddings: expected {architecture.vocab_size}, got {rows}"


def _attention_differences(
    model: PreTrainedModel, architecture: ModernBertArchitecture
) -> Iterator[str]:
    """Compare each layer's window and rotary positions with the architecture."""
    layers = _attentions(model)
    if len(layers) != len(architecture.layer_types):
        yield f"layers: expected {len(architecture.layer_types)}, got {len(layers)}"
        return
    for i, (layer, kind) in enumerate(zip(layers, architecture.layer_types, strict=True)):
        window, rotary = _window(architecture, kind), architecture.rotary(kind)
        if layer.local_attention != window:
            yield f"layer {i}: expected the window {window}, got {layer.local_attention}"
        wanted = inverse_frequencies(rotary, layer.head_dim)
        got = layer.rotary_emb.inv_freq
        if got.shape != wanted.shape or not torch.equal(got, wanted):
            yield f"layer {i}: other frequencies of rotary positions than those of {rotary}"
        if layer.rotary_emb.attention_scaling != attention_factor(rotary):
            yield f"layer {i}: another factor of rotary positions than that of {rotary}"
