"""Small random classifiers of every supported family, with LoRA adapters and a recipe."""

import pickle
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import (
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from hazgate import Bundle
from hazgate_export.build import build
from hazgate_export.model.architecture import Architecture
from hazgate_export.model.config import read_config
from hazgate_export.model.sources import LocalSources
from hazgate_export.model.standin import StandIn, write_standin
from hazgate_export.parity import Parity
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.recipe_file import load_recipe
from tests.support.few_texts import few_proof_texts_used
from tests.support.recipes import recipe_text
from tests.support.shared import make_once

VOCABULARY = 6500
LEVELS: Mapping[str, tuple[str, ...]] = {
    "level1": ("safe", "unsafe"),
    "level2": ("S1", "S2", "S3", "S5", "S6", "S7", "S8", "S9", "S13"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A small shape of an architecture, its LoRA targets and its pooling."""

    config: PretrainedConfig
    lora_targets: tuple[str, ...]
    pooling: str = "cls"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltFamily:
    """A family's bundle, not to be changed, and the parities that its build measured."""

    bundle: Bundle
    parities: tuple[Parity, ...]


# The families that have a CPU graph of their own.
AUTHORED = ("bert", "modernbert")


def architecture_of(config: PretrainedConfig) -> Architecture:
    """Read an installed configuration as the exporter reads its file."""
    return read_config(config.to_dict(), config.model_type).architecture


def families() -> dict[str, Family]:
    """Return one small shape for each supported `model_type`."""
    size = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 260,
        "pad_token_id": 0,
    }
    bert_targets = ("query", "key", "value", "dense")
    return {
        "modernbert": Family(
            config=ModernBertConfig(
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
            ),
            lora_targets=("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
            pooling="mean",
        ),
        "bert": Family(config=BertConfig(**size), lora_targets=bert_targets),
        "roberta": Family(
            config=RobertaConfig(**size, type_vocab_size=1, bos_token_id=2, eos_token_id=1),
            lora_targets=("query", "key", "value"),
        ),
        "xlm-roberta": Family(
            config=XLMRobertaConfig(**size, type_vocab_size=1, bos_token_id=2, eos_token_id=1),
            lora_targets=("query", "key", "value"),
        ),
        "deberta-v2": Family(
            config=DebertaV2Config(
                **size,
                relative_attention=True,
                position_buckets=32,
                pos_att_type=["p2c", "c2p"],
                share_att_key=True,
                norm_rel_ebd="layer_norm",
                type_vocab_size=0,
                position_biased_input=False,
            ),
            lora_targets=("query_proj", "key_proj", "value_proj", "dense"),
        ),
    }


def write_family(folder: Path, name: str) -> tuple[StandIn, Path]:
    """Write a family's stand-in and the recipe that builds it; return both."""
    family = families()[name]
    standin = write_standin(
        folder,
        family.config,
        texts=[text.text for text in load_proof_texts()],
        base_id=f"test/{name}",
        levels=LEVELS,
        lora_targets=family.lora_targets,
        lora_rank=4,
    )
    recipe = folder / "recipe.toml"
    text = recipe_text(
        name=name,
        base_id=f"test/{name}",
        family=name,
        pooling=family.pooling,
        levels=LEVELS,
        max_tokens=250,
        default_variant="fp32",
        int8_scheme="blockwise" if name == "bert" else "dynamic",
        lengths=(1, 2, 7, 8, 9, 16, 17, 33, 64, 129),
        authored=name in AUTHORED,
    )
    recipe.write_text(text, encoding="utf-8")
    return standin, recipe


def build_family(factory: pytest.TempPathFactory, name: str) -> BuiltFamily:
    """Build the bundle of a family's stand-in, once per run."""

    def make(folder: Path) -> None:
        _, recipe = write_family(folder, name)
        # Every line of it is RoBERTa's, which is proven on all texts.
        texts = few_proof_texts_used() if name == "xlm-roberta" else nullcontext()
        with texts:
            built = build(load_recipe(recipe), folder / "bundle", LocalSources())
        (folder / "parities").write_bytes(pickle.dumps(built.parities))

    folder = make_once(factory, f"family-{name}", make)
    return BuiltFamily(
        bundle=Bundle.open(folder / "bundle"),
        parities=pickle.loads((folder / "parities").read_bytes()),
    )
