"""Stand-ins for models that are not available: the real shape, random weights.

They exercise loading, merging, export, parity, size and speed. Their logits mean nothing. A
ModernBERT gets outlying channels, as trained models have, so that int8 is not flattered.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, TaskType, get_peft_model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForSequenceClassification,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from hazgate.judging.taxonomy import load_taxonomy
from hazgate_export.quiet import quiet_transformers

MMBERT_ID = "jhu-clsp/mmBERT-base"
MMBERT_LORA_TARGETS = ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo")
MMBERT_LORA_RANK = 32

# Gemma's special tokens, in the order of their ids in mmBERT.
_SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
_TOKENIZER_VOCABULARY = 6000

# Trained encoders have a few channels far larger than the rest, which come from the norms' weights
# (arXiv 2105.06990, 2109.12948) and from products of two activations; they break int8. One channel
# in 128 is made larger by these factors, and the weights that read it smaller by less.
_CHANNELS_PER_OUTLIER = 128
_NORM_OUTLIER, _MULTIPLIER_OUTLIER = 16.0, 8.0
_OUTLIER_KEPT = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StandIn:
    """The directories of a written stand-in."""

    base: Path
    adapters: Mapping[str, Path]


def mmbert_config() -> ModernBertConfig:
    """Return the shape of jhu-clsp/mmBERT-base, with every field that differs from the defaults."""
    return ModernBertConfig(
        vocab_size=256000,
        hidden_size=768,
        intermediate_size=1152,
        num_hidden_layers=22,
        num_attention_heads=12,
        max_position_embeddings=8192,
        global_rope_theta=160000,
        local_rope_theta=160000,
        local_attention=128,
        global_attn_every_n_layers=3,
        classifier_pooling="mean",
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
        cls_token_id=1,
        sep_token_id=1,
        reference_compile=False,
    )


def production_levels() -> Mapping[str, Sequence[str]]:
    """List the labels of the production models' two levels."""
    return {"level1": ("safe", "unsafe"), "level2": tuple(load_taxonomy("mlcommons").hazards)}


def write_standin(
    folder: Path,
    config: PretrainedConfig,
    *,
    texts: Iterable[str],
    base_id: str,
    levels: Mapping[str, Sequence[str]],
    lora_targets: Sequence[str],
    lora_rank: int,
    tokenizer_vocabulary: int = _TOKENIZER_VOCABULARY,
    tokenizer_file: Path | None = None,
    seed: int = 0,
) -> StandIn:
    """Write a random base with its tokenizer, and one random LoRA adapter per level.

    Args:
        folder: receives `base/` and `LEVEL/`.
        config: the base's shape.
        texts: texts that the tokenizer is learned from.
        base_id: the name that the adapters give as their base.
        levels: labels of each level's head, by the level's name.
        lora_targets: the linear layers that carry the adapter.
        lora_rank: rank; alpha is twice that, as in the published adapters.
        tokenizer_vocabulary: ids of the tokenizer, at most; `config.vocab_size` may be larger.
        tokenizer_file: a tokenizer.json of Gemma's vocabulary to use instead of learning one.
        seed: seed of all random numbers.
    """
    base = folder / "base"
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(config)
    _randomise(model)
    if config.model_type == "modernbert":
        _add_outliers(model)
    # A published base has no classification head: that comes with each adapter.
    body = {k: v for k, v in model.state_dict().items() if not k.startswith("classifier.")}
    model.save_pretrained(base, state_dict=body, safe_serialization=True)
    del model, body
    tokenizer = (
        learn_tokenizer(texts, tokenizer_vocabulary)
        if tokenizer_file is None
        else Tokenizer.from_file(str(tokenizer_file))
    )
    write_tokenizer(base, tokenizer)
    adapters = {}
    for name, labels in levels.items():
        adapters[name] = folder / name
        _write_adapter(base, adapters[name], base_id, len(labels), lora_targets, lora_rank)
    return StandIn(base=base, adapters=adapters)


def _write_adapter(
    base: Path, target: Path, base_id: str, n_labels: int, lora_targets: Sequence[str], rank: int
) -> None:
    # The head is new, which transformers warns of.
    with quiet_transformers():
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=n_labels)
    adapted = get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=rank,
            lora_alpha=2 * rank,
            lora_dropout=0.1,
            target_modules=list(lora_targets),
        ),
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            # PEFT starts B at zero, which would make every merge trivially right.
            if "lora_B" in name:
                parameter.normal_(0, 0.1 / math.sqrt(parameter.shape[1]))
            elif parameter.requires_grad and "lora_A" not in name and parameter.ndim == 2:
                parameter.normal_(0, 1.5 / math.sqrt(parameter.shape[1]))
    adapted.save_pretrained(str(target), safe_serialization=True)
    file = target / "adapter_config.json"
    adapter_config = json.loads(file.read_text(encoding="utf-8"))
    adapter_config["base_model_name_or_path"] = base_id
    file.write_text(json.dumps(adapter_config, indent=2), encoding="utf-8")


def _randomise(model: torch.nn.Module) -> None:
    """Draw weights that let every layer move the logits; the usual ones hardly do."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0, 1.2 / math.sqrt(module.in_features))
                if module.bias is not None:
                    module.bias.normal_(0, 0.05)
            elif isinstance(module, torch.nn.LayerNorm):
                module.weight.normal_(1, 0.1)


def _add_outliers(model: torch.nn.Module) -> None:
    """Give the inputs of a ModernBERT's matrices the outlying channels of trained encoders."""
    with torch.no_grad():
        for layer in cast(Any, model).model.layers:
            for norm, reader in (
                (layer.attn_norm, layer.attn.Wqkv),
                (layer.mlp_norm, layer.mlp.Wi),
            ):
                # The first layer's attention has no norm.
                if isinstance(norm, torch.nn.LayerNorm):
                    channels = _outliers(norm.weight.shape[0])
                    norm.weight[channels] *= _NORM_OUTLIER
                    reader.weight[:, channels] *= _OUTLIER_KEPT / _NORM_OUTLIER
            inner = layer.mlp.Wo.in_features
            channels = _outliers(inner)
            layer.mlp.Wi.weight[inner + channels] *= _MULTIPLIER_OUTLIER
            layer.mlp.Wo.weight[:, channels] *= _OUTLIER_KEPT / _MULTIPLIER_OUTLIER


def _outliers(width: int) -> torch.Tensor:
    """Draw channels with torch's global generator."""
    return torch.randperm(width)[: max(1, width // _CHANNELS_PER_OUTLIER)]


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Learn a small byte-fallback BPE like mmBERT's from `texts`."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))  # noqa: S106
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*_SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write `tokenizer` with mmBERT's template and special tokens, as transformers saves it."""
    document = json.loads(tokenizer.to_str())
    for token in document["added_tokens"]:
        # transformers declares them special when it loads them; the file has to agree.
        token["special"] = token["special"] or token["content"] in _SPECIAL_TOKENS
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        eos_token="<eos>",  # noqa: S106
        bos_token="<bos>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        mask_token="<mask>",  # noqa: S106
    ).save_pretrained(folder)
