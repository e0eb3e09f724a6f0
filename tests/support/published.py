"""Stand-ins of the production pair with the file lists that their repositories have."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hazgate_export.model.standin import StandIn, production_levels, write_standin
from hazgate_export.proof.texts import load_proof_texts
from tests.support.small_mmbert import small_mmbert

MMBERT_ID = "jhu-clsp/mmBERT-base"
LEVEL1_ID = "llm-semantic-router/mlcommons-safety-classifier-level1-binary"
LEVEL2_ID = "llm-semantic-router/mlcommons-safety-classifier-level2-hazard"
_HEAD = "base_model.model.classifier.weight"
BASE_FILES = {
    ".gitattributes",
    "README.md",
    "config.json",
    "pytorch_model.bin",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
ADAPTER_FILES = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "label_mapping.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


def publish_pair(folder: Path) -> dict[str, Path]:
    """Write the pair as its repositories hold it; return their folders by repository."""
    standin = write_standin(
        folder,
        small_mmbert(vocabulary=6500, n_layers=4, n_positions=2048, window=128),
        texts=[text.text for text in load_proof_texts()],
        base_id=MMBERT_ID,
        levels=production_levels(),
        lora_targets=("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
        lora_rank=4,
    )
    pickle_base(standin.base)
    for name, labels in production_levels().items():
        _dress_adapter(standin, name, list(labels))
    return {
        MMBERT_ID: standin.base,
        LEVEL1_ID: standin.adapters["level1"],
        LEVEL2_ID: standin.adapters["level2"],
    }


def pickle_base(base: Path) -> None:
    """Replace a base's safetensors by torch.save's file of a state dict, as mmBERT-base has it."""
    weights = base / "model.safetensors"
    torch.save(load_file(weights), base / "pytorch_model.bin")
    weights.unlink()
    (base / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (base / "README.md").write_text("# mmBERT\n")


def _dress_adapter(standin: StandIn, name: str, labels: list[str]) -> None:
    adapter = standin.adapters[name]
    # Logits as small as these keep the production recipe's limits in int8.
    weights = load_file(adapter / "adapter_model.safetensors")
    weights[_HEAD] *= 0.3
    save_file(weights, adapter / "adapter_model.safetensors", {"format": "pt"})
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (adapter / file).write_bytes((standin.base / file).read_bytes())
    mapping = {
        "label_to_id": {label: i for i, label in enumerate(labels)},
        "id_to_label": {str(i): label for i, label in enumerate(labels)},
    }
    (adapter / "label_mapping.json").write_text(json.dumps(mapping))
