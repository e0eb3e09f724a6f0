"""A `config.json` of transformers 4 or 5, read into the exporter's own architecture.

Every field is understood, known to have no effect on logits, or refused by name. No value comes
from a library's defaults: releases have different ones, and read each other's files without a
word. Spellings of both releases are read; where a file has both, they must agree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hazgate.documents.files import read_bytes
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems
from hazgate_export.errors import SourceError
from hazgate_export.model.architecture import (
    Architecture,
    BertArchitecture,
    DebertaV2Architecture,
    ModernBertArchitecture,
)
from hazgate_export.model.fields import Fields
from hazgate_export.model.irrelevant import DROPOUT, FAMILY_IRRELEVANT, IRRELEVANT
from hazgate_export.model.layer_fields import read_layer_types, read_rotary

# Activations that transformers 4 and 5 compute alike.
_ACTIVATIONS = (
    "gelu",
    "gelu_new",
    "gelu_fast",
    "gelu_pytorch_tanh",
    "quick_gelu",
    "relu",
    "silu",
    "swish",
    "mish",
    "tanh",
)
_ROLES = ("pad", "bos", "eos", "cls", "sep", "unk", "mask")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A configuration file as the exporter understands it.

    Attributes:
        architecture: all that logits depend on besides the weights.
        token_ids: the special tokens that the file states, by role: "pad", "bos", "eos", "cls",
            "sep", "unk" and "mask".
        dropout: the file's settings of dropout, for training.
        architectures: the classes that the file says it was saved from, as it says it.
        problem_type: the loss that its head was trained with, as the file says it.
    """

    architecture: Architecture
    token_ids: Mapping[str, int]
    dropout: Mapping[str, object]
    architectures: object = None
    problem_type: object = None


def load_config(directory: Path, id: str) -> ModelConfig:  # noqa: A002
    """Read the `config.json` of a model's directory; `id` names the model in errors.

    Raises:
        SourceError: there is none, it is not one strict JSON object, or see `read_config`.
    """
    source = f"{id}: its config.json"
    data = read_bytes(directory / "config.json", error=SourceError)
    document = parse_json(data, source=source, error=SourceError)
    if not isinstance(document, dict):
        raise SourceError(f"{id}: expected an object in its config.json, got {document!r:.80}")
    return read_config(document, id)


def read_config(document: Mapping[str, object], id: str) -> ModelConfig:  # noqa: A002
    """Read a configuration of transformers 4 or 5.

    Args:
        document: the file's JSON object.
        id: the model's name, for errors.

    Raises:
        SourceError: the family is not known, or fields are missing, wrong, contradict each
            other or are not understood. Names all of them.
    """
    family = document.get("model_type")
    reader = _READERS.get(family) if isinstance(family, str) else None
    if reader is None or not isinstance(family, str):
        raise SourceError(
            f"{id}: its config.json says model_type {family!r}; expected one of "
            f"{', '.join(_READERS)}"
        )
    problems: list[str] = []
    fields = Fields(document, problems)
    fields.raw("model_type")
    ignored = fields.ignore(frozenset().union(*IRRELEVANT.values(), FAMILY_IRRELEVANT[family]))
    vocab_size = fields.integer("vocab_size")
    token_ids = {role: fields.token_id(f"{role}_token_id", vocab_size) for role in _ROLES}
    _refuse_other_computations(fields)
    architecture = reader(fields, token_ids["pad"])
    fields.refuse_others(
        "not understood, and it may change the logits; remove it if it does not, or build with a "
        "hazgate-export that knows it"
    )
    if problems:
        raise SourceError(
            f"{id}: its config.json cannot be used:{list_problems(problems, most=len(problems))}"
        )
    return ModelConfig(
        architecture=architecture,
        token_ids={role: i for role, i in token_ids.items() if i is not None},
        dropout={name: value for name, value in ignored.items() if name in DROPOUT},
        architectures=ignored.get("architectures"),
        problem_type=ignored.get("problem_type"),
    )


def _refuse_other_computations(fields: Fields) -> None:
    """Refuse settings under which the model is no encoder with plain weights."""
    encoder = "only encoders are exported"
    for name in ("is_decoder", "is_encoder_decoder", "add_cross_attention", "tie_encoder_decoder"):
        fields.only(name, False, reason=encoder)
    fields.only("cross_attention_hidden_size", reason=encoder)
    fields.only("pruned_heads", {}, reason="save the model again without pruned heads")
    fields.only("use_bfloat16", False, reason="it is a setting of TensorFlow")
    for name in ("dtype", "torch_dtype"):
        floats = ("float32", "float16", "bfloat16")
        fields.only(name, *floats, reason="save the weights as floats")
    if fields.has("dtype") and fields.has("torch_dtype"):
        fields.agree("dtype", fields.raw("dtype"), "torch_dtype", fields.raw("torch_dtype"))
    fields.only("per_layer_config", reason="layers of one model are alike here")


def _read_bert(family: str) -> Callable[[Fields, int | None], BertArchitecture]:
    def read(fields: Fields, pad: int | None) -> BertArchitecture:
        name = next(f for f in ("bert", "roberta", "xlm-roberta") if f == family)
        if name != "bert" and pad is None:
            fields.problem("pad_token_id", "expected an id, got none; positions start after it")
        positions = fields.choice(
            "position_embedding_type",
            ("absolute", "relative_key", "relative_key_query"),
            default="absolute",
        )
        version = fields.raw("transformers_version")
        if positions != "absolute" and isinstance(version, str) and not version.startswith("4."):
            fields.problem(
                "position_embedding_type",
                f"transformers {version}, which saved this file, does not read {positions!r}; "
                "state transformers_version 4 if the model was trained with it",
            )
        return BertArchitecture(
            family=name,
            vocab_size=fields.integer("vocab_size"),
            hidden_size=fields.integer("hidden_size"),
            num_hidden_layers=fields.integer("num_hidden_layers"),
            num_attention_heads=_heads(fields),
            intermediate_size=fields.integer("intermediate_size"),
            max_position_embeddings=fields.integer("max_position_embeddings"),
            type_vocab_size=fields.integer("type_vocab_size"),
            hidden_act=fields.choice("hidden_act", _ACTIVATIONS),
            layer_norm_eps=fields.number("layer_norm_eps"),
            position_embedding_type=positions,
            pad_token_id=pad,
        )

    return read


def _read_deberta(fields: Fields, pad: int | None) -> DebertaV2Architecture:
    hidden, heads = fields.integer("hidden_size"), _heads(fields)
    kernel = fields.integer("conv_kernel_size", 0, least=0)
    norms = fields.words("norm_rel_ebd")
    return DebertaV2Architecture(
        vocab_size=fields.integer("vocab_size"),
        hidden_size=hidden,
        embedding_size=fields.integer("embedding_size", hidden),
        num_hidden_layers=fields.integer("num_hidden_layers"),
        num_attention_heads=heads,
        attention_head_size=fields.integer("attention_head_size", max(1, hidden // heads)),
        intermediate_size=fields.integer("intermediate_size"),
        max_position_embeddings=fields.integer("max_position_embeddings"),
        type_vocab_size=fields.integer("type_vocab_size", least=0),
        hidden_act=fields.choice("hidden_act", _ACTIVATIONS),
        layer_norm_eps=fields.number("layer_norm_eps"),
        relative_attention=fields.flag("relative_attention"),
        max_relative_positions=fields.integer("max_relative_positions", -1, least=-1),
        position_buckets=fields.integer("position_buckets", -1, least=-1),
        pos_att_type=_parts(fields, "pos_att_type", ("c2p", "p2c")),
        share_att_key=fields.flag("share_att_key", False),
        norm_rel_ebd=() if norms == ("none",) else _parts(fields, "norm_rel_ebd", ("layer_norm",)),
        position_biased_input=fields.flag("position_biased_input", True),
        conv_kernel_size=kernel,
        conv_groups=fields.integer("conv_groups", 1),
        conv_act=fields.choice("conv_act", _ACTIVATIONS, default="tanh"),
        pooler_hidden_size=fields.integer("pooler_hidden_size", hidden),
        pooler_hidden_act=fields.choice("pooler_hidden_act", _ACTIVATIONS, default="gelu"),
        pad_token_id=pad,
    )


def _read_modernbert(fields: Fields, pad: int | None) -> ModernBertArchitecture:
    positions = fields.integer("max_position_embeddings")
    norm_eps = fields.number("norm_eps")
    if fields.has("layer_norm_eps"):
        # Published files carry both; only `norm_eps` is read.
        fields.agree("norm_eps", norm_eps, "layer_norm_eps", fields.raw("layer_norm_eps"))
    layer_types = read_layer_types(fields, fields.integer("num_hidden_layers"))
    rotary = read_rotary(fields, layer_types, positions)
    return ModernBertArchitecture(
        vocab_size=fields.integer("vocab_size"),
        hidden_size=fields.integer("hidden_size"),
        intermediate_size=fields.integer("intermediate_size"),
        num_attention_heads=_heads(fields),
        max_position_embeddings=positions,
        layer_types=layer_types,
        full_attention=rotary["full_attention"],
        sliding_attention=rotary["sliding_attention"],
        local_attention=fields.integer("local_attention", least=2),
        norm_eps=norm_eps,
        norm_bias=fields.flag("norm_bias", False),
        attention_bias=fields.flag("attention_bias", False),
        mlp_bias=fields.flag("mlp_bias", False),
        hidden_activation=fields.choice("hidden_activation", _ACTIVATIONS),
        classifier_pooling=fields.choice("classifier_pooling", ("cls", "mean")),
        classifier_bias=fields.flag("classifier_bias", False),
        classifier_activation=fields.choice("classifier_activation", _ACTIVATIONS, default="gelu"),
        pad_token_id=pad,
    )


_READERS: Mapping[str, Callable[[Fields, int | None], Architecture]] = {
    "modernbert": _read_modernbert,
    "bert": _read_bert("bert"),
    "roberta": _read_bert("roberta"),
    "xlm-roberta": _read_bert("xlm-roberta"),
    "deberta-v2": _read_deberta,
}


def _heads(fields: Fields) -> int:
    heads, hidden = fields.integer("num_attention_heads"), fields.raw("hidden_size")
    if isinstance(hidden, int) and hidden % heads:
        fields.problem("num_attention_heads", f"{heads} do not divide a hidden_size of {hidden}")
    return heads


def _parts(fields: Fields, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Read words that may only be some; their order means nothing."""
    words = fields.words(name)
    foreign = sorted(set(words) - set(allowed))
    if foreign:
        fields.problem(name, f"expected only {', '.join(allowed)}, got {', '.join(foreign)}")
    return tuple(sorted(set(words)))
