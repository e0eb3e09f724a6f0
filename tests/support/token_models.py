"""Tiny random classifiers of tokens: LoRA adapters and whole checkpoints, of every family."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from hazgate_export.model.standin import write_standin
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.quiet import quiet_transformers
from tests.support.adapters import edit_json
from tests.support.recipes import FUSED_VARIANT

LEVEL = "entities"
LABELS = ("O", "B-NAME", "I-NAME", "B-EMAIL", "I-EMAIL")
SPOKEN = ("supported", "hallucinated")
BASE_ID = "test/token-base"
MAX_TOKENS = 64
_VOCABULARY = 616
_TARGETS = {
    "bert": ("query", "key", "value", "dense"),
    "modernbert": ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
    "roberta": ("query", "key", "value"),
    "xlm-roberta": ("query", "key", "value"),
    "deberta-v2": ("query_proj", "key_proj", "value_proj", "dense"),
}
# A trained head is surer than a new one, whose tags would all be about alike.
_HEAD = 1.5

PORTABLE = """[variants.fp32]
precision = "fp32"
parity = { max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }

"""
AUTHORED = """[variants.cpu]
graph = "authored"
precision = "fp32"
parity = { max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }

"""
# Random weights need wide limits.
STATIC = """[variants.cpu-int8]
graph = "authored"
precision = "int8"
int8_scheme = "static"
parity = { max_abs_logit_diff = 99.0, max_changed_share = 0.99, max_invariance_diff = 1e-6 }

"""
DYNAMIC = """[variants.int8]
precision = "int8"
int8_scheme = "dynamic"
parity = { max_abs_logit_diff = 99.0, max_changed_share = 0.99, max_invariance_diff = 1e-4 }

"""
FUSED = FUSED_VARIANT


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenModel:
    """The folders of a base and of an adapter or checkpoint on it, and the recipe of both."""

    base: Path
    weights: Path
    recipe: Path


def token_config(family: str) -> PretrainedConfig:
    """Return a tiny shape of a family."""
    size = {
        "vocab_size": _VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
    }
    if family == "bert":
        return BertConfig(**size)
    if family in ("roberta", "xlm-roberta"):
        of_family = RobertaConfig if family == "roberta" else XLMRobertaConfig
        return of_family(**size, type_vocab_size=1, bos_token_id=2, eos_token_id=1)
    if family == "deberta-v2":
        return DebertaV2Config(
            **size,
            relative_attention=True,
            position_buckets=32,
            pos_att_type=["p2c", "c2p"],
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            type_vocab_size=0,
            position_biased_input=False,
        )
    return ModernBertConfig(
        **size,
        local_attention=16,
        global_attn_every_n_layers=3,
        global_rope_theta=160000,
        local_rope_theta=160000,
        classifier_pooling="mean",
        bos_token_id=2,
        eos_token_id=1,
        cls_token_id=1,
        sep_token_id=1,
        reference_compile=False,
    )


def write_token_adapter(folder: Path, family: str, *, variants: str = AUTHORED) -> TokenModel:
    """Write a base, a LoRA adapter that tags tokens, and their recipe."""
    base = _write_base(folder, family)
    weights = add_token_adapter(folder, family)
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe_of(family, variants=variants), encoding="utf-8")
    return TokenModel(base=base, weights=weights, recipe=recipe)


def add_token_adapter(
    folder: Path,
    family: str,
    *,
    base_id: str = BASE_ID,
    level: str = LEVEL,
    labels: Sequence[str] = LABELS,
) -> Path:
    """Write a LoRA adapter that tags tokens, on the base in `base/`; return its folder."""
    torch.manual_seed(11)
    with quiet_transformers():
        model = AutoModelForTokenClassification.from_pretrained(
            folder / "base", num_labels=len(labels)
        )
    adapted = get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.TOKEN_CLS, r=4, lora_alpha=8, target_modules=list(_TARGETS[family])
        ),
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            # PEFT starts B at zero, which would make every merge trivially right.
            if "lora_B" in name:
                parameter.normal_(0, 0.1 / math.sqrt(parameter.shape[1]))
            elif parameter.requires_grad and "lora_A" not in name and parameter.ndim == 2:
                parameter.normal_(0, _HEAD / math.sqrt(parameter.shape[1]))
    weights = folder / level
    adapted.save_pretrained(str(weights), safe_serialization=True)
    edit_json(weights / "adapter_config.json", base_model_name_or_path=base_id)
    numbers = {label: i for i, label in enumerate(labels)}
    (weights / "label_mapping.json").write_text(json.dumps({"label_to_id": numbers}))
    return weights


def write_token_checkpoint(
    folder: Path, family: str, labels: Sequence[str] = SPOKEN, *, variants: str = AUTHORED
) -> TokenModel:
    """Write a whole checkpoint that tags tokens, whose config.json names them, and its recipe."""
    base = _write_base(folder, family)
    torch.manual_seed(12)
    with quiet_transformers():
        model = AutoModelForTokenClassification.from_pretrained(
            base,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
        )
    with torch.no_grad():
        model.classifier.weight.normal_(0, _HEAD / math.sqrt(model.config.hidden_size))
    weights = folder / LEVEL
    model.save_pretrained(weights, safe_serialization=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(base / file, weights / file)
    recipe = folder / "recipe.toml"
    text = recipe_of(family, variants=variants)
    text = text.replace('source = { directory = "base" }\n', "")
    text = text.replace("adapter_id =", "checkpoint_id =").replace("adapter =", "checkpoint =")
    outside = f'output = "tokens"\noutside = "{labels[0]}"\n'
    recipe.write_text(text.replace('output = "tokens"\n', outside), encoding="utf-8")
    return TokenModel(base=base, weights=weights, recipe=recipe)


def recipe_of(family: str, *, variants: str) -> str:
    """Return the recipe of an adapter in `entities/` on the base in `base/`."""
    default = variants.split("[variants.", 1)[1].split("]", 1)[0]
    return f"""schema_version = 1
name = "tokens"
description = "Random weights for tests; its spans mean nothing."
opset = 18
default_variant = "{default}"

[base]
id = "{BASE_ID}"
family = "{family}"
pooling = "{"mean" if family == "modernbert" else "cls"}"
source = {{ directory = "base" }}

[tokenizer]
max_tokens = {MAX_TOKENS}
special_tokens_in_text = "text"

[levels.{LEVEL}]
adapter_id = "{BASE_ID}-{LEVEL}"
adapter = {{ directory = "{LEVEL}" }}
output = "tokens"

{variants}[parity]
lengths = [1, 2, 3, 8, 31]
"""


def _write_base(folder: Path, family: str) -> Path:
    return write_standin(
        folder,
        token_config(family),
        texts=[text.text for text in load_proof_texts() if text.text.isascii()],
        base_id=BASE_ID,
        levels={},
        lora_targets=(),
        lora_rank=0,
        tokenizer_vocabulary=600,
        seed=5,
    ).base
