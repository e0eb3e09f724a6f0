"""Small classifiers as transformers 5 saves them, with the logits that it gives.

Runs in an environment of its own, see tests.support.environments, and imports nothing of this
project. `python -I tests/support/transformers5.py goldens FOLDER` writes the files in
tests/data/transformers5: configurations, names and shapes of tensors, and logits. Weights are not
stored: `values` makes them again from a tensor's name. `... long FOLDER` writes the same of a
ModernBERT with YaRN, for long inputs. `... whole FOLDER` writes one checkpoint whole, as
transformers 5 saves model and tokenizer, and its logits.
"""

import json
import string
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

REQUIREMENTS = ("torch==2.13.0", "transformers==5.24.0")
GOLDENS = Path(__file__).parents[1] / "data" / "transformers5"
LABELS = ("safe", "unsafe")
VOCABULARY = 96
N_POSITIONS = 128
LENGTHS = (1, 5, 33, 90)
LONG_LENGTHS = (512, 8192)
_YARN = {"rope_type": "yarn", "rope_theta": 160000.0, "factor": 4.0}


def values(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Draw a tensor that depends on its name alone; every layer moves the logits."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) == 2 and "embedding" not in name:
        drawn *= 1.2 / np.sqrt(shape[1])
    elif "norm" in name.lower() and name.endswith("weight"):
        drawn = 1 + 0.1 * drawn
    elif name.endswith("bias"):
        drawn *= 0.1
    return drawn.astype(np.float32)


def inputs(lengths: Sequence[int] = LENGTHS) -> list[list[int]]:
    """Draw the ids of one input per length."""
    random = np.random.default_rng(5)
    return [random.integers(5, VOCABULARY, size=length).tolist() for length in lengths]


def configurations() -> "Mapping[str, PretrainedConfig]":
    """Make one configuration per case, by transformers' own classes."""
    from transformers import (
        BertConfig,
        DebertaV2Config,
        ModernBertConfig,
        RobertaConfig,
        XLMRobertaConfig,
    )

    size = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": N_POSITIONS,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    bert = {**size, "pad_token_id": 0, "num_hidden_layers": 2}
    roberta = {**bert, "pad_token_id": 1, "type_vocab_size": 1}
    modern = {
        **size,
        "local_attention": 16,
        "classifier_pooling": "mean",
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "cls_token_id": 1,
        "sep_token_id": 1,
    }
    plain = {"rope_type": "default", "rope_theta": 160000.0}
    slow = {"rope_type": "default", "rope_theta": 10000.0}
    full, sliding = "full_attention", "sliding_attention"

    def modernbert(rope: Mapping[str, object], **changes: object) -> ModernBertConfig:
        fields: dict[str, Any] = {**modern, "rope_parameters": rope, **changes}
        return ModernBertConfig(**fields)

    return {
        "modernbert": modernbert({full: plain, sliding: dict(plain)}),
        "modernbert-thetas": modernbert({full: plain, sliding: slow}, classifier_pooling="cls"),
        "modernbert-yarn": modernbert(
            {full: {**_YARN, "original_max_position_embeddings": 32}, sliding: slow}
        ),
        "modernbert-yarn-everywhere": modernbert(
            {
                kind: {
                    **_YARN,
                    "original_max_position_embeddings": 24,
                    "beta_fast": 8.0,
                    "beta_slow": 2.0,
                    "attention_factor": 1.25,
                }
                for kind in (full, sliding)
            }
        ),
        "modernbert-irregular": modernbert(
            {full: plain, sliding: slow}, layer_types=[sliding, full, full, sliding]
        ),
        "modernbert-biased": modernbert(
            {full: plain, sliding: slow},
            norm_bias=True,
            attention_bias=True,
            mlp_bias=True,
            classifier_bias=True,
            hidden_activation="silu",
        ),
        "bert": BertConfig(**bert),
        "roberta": RobertaConfig(**roberta),
        "xlm-roberta": XLMRobertaConfig(**roberta),
        "deberta-v2": DebertaV2Config(
            **bert,
            relative_attention=True,
            position_buckets=32,
            max_relative_positions=-1,
            pos_att_type=["p2c", "c2p"],
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            type_vocab_size=0,
            position_biased_input=False,
            conv_kernel_size=3,
            conv_act="gelu",
        ),
    }


def classifier(config: "PretrainedConfig") -> "PreTrainedModel":
    """Make a classifier with the weights of `values`, in evaluation mode."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
        config, attn_implementation="eager"
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(values(name, parameter.shape)))
    model.eval()
    return model


def logits_of(model: "PreTrainedModel", texts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Compute the logits of each input, alone."""
    import torch

    with torch.inference_mode():
        return [
            model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long())
            .logits[0]
            .tolist()
            for ids in texts
        ]


def write_goldens(folder: Path) -> None:
    """Write a configuration and a golden per case."""
    _write(folder, configurations(), LENGTHS)


def write_long(folder: Path) -> None:
    """Write a ModernBERT with YaRN, and its logits of long inputs."""
    config = configurations()["modernbert-yarn"]
    config.max_position_embeddings = max(LONG_LENGTHS)
    for rope in config.rope_parameters.values():
        if rope["rope_type"] == "yarn":
            rope["original_max_position_embeddings"] = max(LONG_LENGTHS) // 4
    _write(folder, {"long": config}, LONG_LENGTHS)


def write_whole(folder: Path) -> None:
    """Write a classifier with YaRN and its tokenizer of characters into `checkpoint`."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    target = folder / "checkpoint"
    model = classifier(configurations()["modernbert-yarn"])
    with torch.no_grad():
        # Logits as small as these keep the usual limits of int8.
        model.get_parameter("classifier.weight").mul_(0.25)
    model.save_pretrained(target)
    golden = {"transformers": transformers.__version__, "logits": logits_of(model, inputs())}
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *string.printable[: VOCABULARY - 4]]
    numbers = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(numbers, [], unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        cls_token="<eos>",
        sep_token="<eos>",
        unk_token="<unk>",
    ).save_pretrained(target)


def _write(folder: Path, configs: "Mapping[str, PretrainedConfig]", lengths: Sequence[int]) -> None:
    import torch
    import transformers

    for name, config in configs.items():
        model = classifier(config)
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        model.config.save_pretrained(target)
        golden = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tensors": {name: list(value.shape) for name, value in model.state_dict().items()},
            "logits": logits_of(model, inputs(lengths)),
        }
        text = json.dumps(golden, separators=(",", ":"))
        (target / "golden.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    commands = {"goldens": write_goldens, "long": write_long, "whole": write_whole}
    commands[sys.argv[1]](Path(sys.argv[2]))
