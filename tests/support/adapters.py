"""Adapters of every kind that PEFT trains, on a tiny BERT whose own head is trained, too."""

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, BertConfig

from hazgate.documents.files import sha256
from hazgate_export.model.sources import Fetched
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.texts import Case

BASE_ID = "test/bert"
VOCABULARY = 120
CASES = tuple(
    Case(id=str(seed), is_text=False, input_ids=tuple(range(seed, seed + 9 * seed, 3)))
    for seed in (3, 5, 9)
)
# By name: arguments of LoraConfig over those of an ordinary adapter.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "no task": {"task_type": None, "modules_to_save": ["classifier"]},
    "no modules to save": {"modules_to_save": None},
    "several modules to save": {
        "modules_to_save": ["classifier", "pooler"],
        "target_modules": ["query", "value"],
    },
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "rank and alpha patterns": {
        "rank_pattern": {"query": 2},
        "alpha_pattern": {"attention.output.dense": 3},
    },
    "bias of all": {"bias": "all"},
    "bias of lora": {"bias": "lora_only"},
    "lora bias": {"lora_bias": True},
    "lora on the classifier": {"task_type": None, "target_modules": ["query", "classifier"]},
    "one layer": {"layers_to_transform": [1], "layers_pattern": "layer"},
    "excluded modules": {"exclude_modules": ["pooler.dense"]},
    "parameters": {
        "target_modules": ["query"],
        "target_parameters": ["value.weight"],
        "lora_dropout": 0.0,
    },
    "embeddings": {"target_modules": ["query", "word_embeddings"]},
    "tokens": {"trainable_token_indices": [3, 4]},
    "a pattern of modules": {"target_modules": r".*attention.*(query|value)"},
    "a gaussian start": {"init_lora_weights": "gaussian"},
    "all at once": {
        "use_rslora": True,
        "use_dora": True,
        "bias": "lora_only",
        "rank_pattern": {"query": 2},
        "alpha_pattern": {"value": 3},
    },
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainedAdapter:
    """An adapter's folder, and the logits of CASES that PEFT computed before it was saved."""

    folder: Path
    logits: NDArray[np.float32]


def write_bert(folder: Path, *, n_labels: int = 2) -> Path:
    """Write a tiny BERT with a trained head of `n_labels` outputs; return its folder."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        pad_token_id=0,
        num_labels=n_labels,
    )
    model = AutoModelForSequenceClassification.from_config(config)
    _randomise(model)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def train_adapter(
    base: Path,
    folder: Path,
    *,
    n_labels: int = 2,
    **options: Any,  # noqa: ANN401
) -> TrainedAdapter:
    """Write an adapter with random weights on `base`, as a trainer of `n_labels` would."""
    torch.manual_seed(11)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=n_labels, ignore_mismatched_sizes=True
    )
    ordinary = {"task_type": "SEQ_CLS", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1}
    targets = ["query", "key", "value", "dense"]
    config = LoraConfig(**{**ordinary, "target_modules": targets, **options})
    with warnings.catch_warnings():
        # PEFT warns of shapes and places that a loader must check.
        warnings.simplefilter("ignore", UserWarning)
        adapted = get_peft_model(model, config)
        _randomise(adapted, trained_only=True)
        adapted.eval()
        logits = torch_logits(adapted, CASES, "as trained")
        adapted.save_pretrained(str(folder), safe_serialization=True)
    edit_json(folder / "adapter_config.json", base_model_name_or_path=BASE_ID)
    return TrainedAdapter(folder=folder, logits=logits)


def fetched(folder: Path, id: str, revision: str | None = None) -> Fetched:  # noqa: A002
    """Return a folder as if it had been fetched."""
    files = {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.is_file()}
    return Fetched(directory=folder, id=id, revision=revision, sha256="0" * 64, files=files)


def edit_json(file: Path, **values: object) -> None:
    """Change fields of a JSON file."""
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**data, **values}, indent=2), encoding="utf-8")


def _randomise(model: torch.nn.Module, *, trained_only: bool = False) -> None:
    """Move parameters so far that each of them moves the logits."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad or not trained_only:
                width = parameter.shape[-1] if parameter.ndim else 1
                parameter.add_(torch.randn_like(parameter) / math.sqrt(width))
