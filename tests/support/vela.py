"""Stand-ins for the Vela checkpoints: a whole classifier each, with its team's files beside it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from hazgate_export.model.standin import write_standin
from hazgate_export.proof.texts import load_proof_texts
from tests.support.adapters import edit_json
from tests.support.operating_points import operating_point, write_operating_point
from tests.support.small_mmbert import small_mmbert

# Labels by checkpoint, in the order of the outputs.
VELA: Mapping[str, Sequence[str]] = {
    "Guard": ("benign", "jailbreak"),
    "Safety": ("safe", "unsafe"),
    "Hazard": (
        "violence", "criminal_activity", "sexual_content", "child_exploitation", "hate",
        "harassment_abuse", "regulated_substances", "weapons", "self_harm", "privacy",
        "specialized_advice", "misinformation",
    ),
}  # fmt: skip
# One of each label; some hold where others do not.
THRESHOLDS = tuple(0.3 + 0.04 * i for i in range(12))
# Tokens of a window without its two special ones; half of them are shared with the next.
CONTENT_TOKENS, OVERLAP = 46, 23
_N_POSITIONS = 128
# A trained head is surer than a new one, whose scores would all be about alike.
_HEAD_SCALE = 20.0


def vela_id(name: str) -> str:
    """Return the published name of a checkpoint."""
    return f"vllm-sr/Vela-1.0-Encoder-307M-{name}"


def write_vela(folder: Path) -> None:
    """Write the checkpoints of VELA: YaRN, float32 weights in one file, four maps of labels.

    Guard has a twin of its map, Hazard an operating point of short windows.
    """
    write_standin(
        folder,
        small_mmbert(vocabulary=616, n_layers=2, n_positions=_N_POSITIONS, window=16),
        texts=[text.text for text in load_proof_texts() if text.text.isascii()],
        base_id="vllm-sr/Vela-1.0-Encoder-307M",
        levels={},
        lora_targets=(),
        lora_rank=0,
        tokenizer_vocabulary=600,
    )
    for seed, (name, labels) in enumerate(VELA.items()):
        _write_checkpoint(folder / "base", folder / name, labels, seed)
    maps = json.loads((folder / "Guard/label_mapping.json").read_text(encoding="utf-8"))
    twin = {key: maps[key] for key in ("label_to_idx", "idx_to_label")}
    _write(folder / "Guard/jailbreak_type_mapping.json", twin)
    # It states the digests of the files beside it, so it comes last.
    document = operating_point(
        folder / "Hazard",
        labels=VELA["Hazard"],
        thresholds=THRESHOLDS,
        content_tokens=CONTENT_TOKENS,
        overlap=OVERLAP,
    )
    write_operating_point(folder / "Hazard", document)


def shard_in_bfloat16(checkpoint: Path) -> None:
    """Save a checkpoint's weights again: in bfloat16, in two shards and their index."""
    file = checkpoint / "model.safetensors"
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(file).items()}
    file.unlink()
    weight_map = {}
    names = sorted(tensors)
    for i, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-{i:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, checkpoint / shard, {"format": "pt"})
        weight_map.update(dict.fromkeys(part, shard))
    _write(checkpoint / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    edit_json(checkpoint / "config.json", dtype="bfloat16")


def _write_checkpoint(base: Path, folder: Path, labels: Sequence[str], seed: int) -> None:
    numbers = {label: i for i, label in enumerate(labels)}
    names = {str(i): label for i, label in enumerate(labels)}
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id=numbers
    )
    with torch.no_grad():
        model.classifier.weight *= _HEAD_SCALE
    model.save_pretrained(folder, safe_serialization=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(base / file, folder / file)
    # transformers 4 has no such field for ModernBERT; releases of 5 write and compute it.
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    edit_json(
        folder / "config.json",
        rope_parameters={
            "full_attention": {**yarn, "rope_theta": 160000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 160000.0},
        },
    )
    maps = {"label2id": numbers, "id2label": names, "label_to_idx": numbers, "idx_to_label": names}
    _write(folder / "label_mapping.json", maps)


def _write(file: Path, data: object) -> None:
    file.write_text(json.dumps(data, indent=2), encoding="utf-8")
