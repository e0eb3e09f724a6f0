"""The base with a fresh LoRA adapter, and the adapter's files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.utils.save_and_load import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from hazgate_export.errors import RecipeError, SourceError
from hazgate_export.finetune_settings import LoraSettings
from hazgate_export.model.config import load_config
from hazgate_export.model.installed import conform, pretrained_config
from hazgate_export.quiet import quiet_transformers

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
LABELS_FILE = "label_mapping.json"


def new_adapter(
    base_dir: Path,
    base_id: str,
    labels: tuple[str, ...],
    lora: LoraSettings,
    frozen_layers: int = 0,
    *,
    per_token: bool = False,
) -> PeftModel:
    """Load the base, frozen, with an adapter that changes nothing yet and a random head, float32.

    Draws from torch's global generator. The lowest `frozen_layers` get no adapter. The head is of
    each token, or else of the text.

    Raises:
        SourceError: the base cannot be loaded, or its configuration is not understood.
        RecipeError: the base lacks weights of modules that are not in `modules_to_save`: they
            would stay random and be lost; or no layer is left to train.
    """
    read = load_config(base_dir, base_id)
    config = pretrained_config(read.architecture, read.dropout)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    kind = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
    try:
        # It warns of the random head, which is what is wanted; other gaps are an error below.
        with quiet_transformers():
            base, loading = kind.from_pretrained(
                base_dir,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        raise SourceError(f"{base_id} cannot be loaded: {error}") from error
    conform(base, read.architecture, base_id)
    lost = [key for key in loading["missing_keys"] if not _is_part_of(key, lora.modules_to_save)]
    if lost:
        raise RecipeError(
            f"{base_id} has no weights for {', '.join(sorted(lost))}: lora.modules_to_save must "
            "name their modules"
        )
    n_layers = config.num_hidden_layers
    if frozen_layers >= n_layers:
        raise RecipeError(f"frozen_layers: expected fewer than the {n_layers} layers of {base_id}")
    lora_config = LoraConfig(
        layers_to_transform=list(range(frozen_layers, n_layers)) if frozen_layers else None,
        task_type=TaskType.TOKEN_CLS if per_token else TaskType.SEQ_CLS,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        modules_to_save=list(lora.modules_to_save),
    )
    try:
        return cast(PeftModel, get_peft_model(base, lora_config))
    except ValueError as error:
        raise RecipeError(f"lora does not fit {base_id}: {error}") from error


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def set_trainable(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Overwrite the trainable parameters."""
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(values[name])


def start_head(model: nn.Module, start: Tensor) -> None:
    """Overwrite the bias of the classifier's last layer, where `start` is not zero; [columns]."""
    biases = [
        value
        for name, value in trainable(model).items()
        if name.endswith(".bias") and value.shape == start.shape
    ]
    if len(biases) == 1:
        with torch.no_grad():
            biases[0].copy_(torch.where(start != 0, start, biases[0]))


def save_adapter(model: PeftModel, base_id: str, folder: Path) -> None:
    """Write weights and configuration as PEFT reads them, without this machine's paths."""
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: value.detach().contiguous() for name, value in sorted(state.items())}
    (folder / ADAPTER_WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    config = model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": base_id, "inference_mode": True}
    # PEFT holds these as sets, whose order changes from run to run.
    plain = {key: sorted(v) if isinstance(v, set) else v for key, v in config.items()}
    text = json.dumps(plain, indent=2, sort_keys=True)
    (folder / ADAPTER_CONFIG).write_text(f"{text}\n", encoding="utf-8")


def save_labels(labels: Sequence[str], folder: Path) -> None:
    """Write the name of each column, which PEFT's configuration has no field for."""
    names = {str(index): label for index, label in enumerate(labels)}
    text = json.dumps({"id_to_label": names}, indent=2)
    (folder / LABELS_FILE).write_text(f"{text}\n", encoding="utf-8")


def _is_part_of(key: str, modules: tuple[str, ...]) -> bool:
    return any(f".{key}.".find(f".{module}.") >= 0 for module in modules)
