"""Stand-ins with the file layouts of published classifiers, and recipes pointed at them."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hazgate_export.model.standin import write_standin
from hazgate_export.proof.texts import load_proof_texts
from tests.support.adapters import edit_json
from tests.support.small_mmbert import small_mmbert

RECIPES = Path(__file__).parents[2] / "export" / "recipes"
BASE_32K = "llm-semantic-router/mmbert-32k-yarn"
# Labels by level, in the order in which each trainer numbers them.
LEVELS_32K: Mapping[str, Sequence[str]] = {
    "jailbreak": ("benign", "jailbreak"),
    "intent": (
        "biology", "business", "chemistry", "computer science", "economics", "engineering",
        "health", "history", "law", "math", "other", "philosophy", "physics", "psychology",
    ),
    "fact_check": ("NO_FACT_CHECK_NEEDED", "FACT_CHECK_NEEDED"),
}  # fmt: skip
# The keys of label_mapping.json and the name of its twin, by level.
_MAPS = {
    "jailbreak": ("label_to_id", "id_to_label", "jailbreak_type_mapping.json"),
    "intent": ("category_to_idx", "idx_to_category", "category_mapping.json"),
    "fact_check": ("label_to_idx", "idx_to_label", "fact_check_mapping.json"),
}


def write_32k(folder: Path) -> None:
    """Write a small base and the adapters of LEVELS_32K, with the flaws of their trainers.

    The jailbreak adapter states no task, as where the author built LoraConfig without one; the
    intent adapter names a local path as its base; each has a wrong lora_config.json, and a
    tokenizer.json with padding and truncation baked in.
    """
    write_standin(
        folder,
        small_mmbert(vocabulary=616, n_layers=2, n_positions=128, window=16),
        texts=[text.text for text in load_proof_texts() if text.text.isascii()],
        base_id=BASE_32K,
        levels=LEVELS_32K,
        lora_targets=("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
        lora_rank=4,
        tokenizer_vocabulary=600,
    )
    for level, labels in LEVELS_32K.items():
        to_index, from_index, twin = _MAPS[level]
        numbers = {label: i for i, label in enumerate(labels)}
        reverse = {str(i): label for i, label in enumerate(labels)}
        for name in ("label_mapping.json", twin):
            _write(folder / level / name, {to_index: numbers, from_index: reverse})
        _write(folder / level / "lora_config.json", {"rank": 1, "id2label": {"0": "wrong"}})
        _bake_padding(folder / "base", folder / level)
    edit_json(
        folder / "jailbreak/adapter_config.json",
        task_type=None,
        modules_to_save=["classifier"],
        auto_mapping={"base_model_class": "ModernBertForSequenceClassification"},
    )
    edit_json(
        folder / "intent/adapter_config.json", base_model_name_or_path="/data/mmbert-32k-yarn"
    )


def rehearsed(
    name: str,
    folder: Path,
    sources: Mapping[str, str],
    *,
    insert: str = "",
    fused: bool = False,
) -> Path:
    """Write a shipped recipe with local sources, short texts and its fp32 variant alone.

    Args:
        name: the shipped recipe.
        folder: holds the sources' folders; receives the recipe.
        sources: the folder of each Hub repository.
        insert: lines to add to its first level.
        fused: keeps its variant `int8-fused`, too, with the recipe's own limits.
    """
    text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    for hub, local in sources.items():
        text = _changed(rf'\{{ hub = "{hub}".*?\}}', f'{{ directory = "{local}" }}', text)
    dropped = r"int8\]" if fused else "int8"
    text = _changed(rf"(?ms)^\[variants\.{dropped}.*?(?=^\[(?!variants\.{dropped}))", "", text)
    text = _changed(r"(?m)^max_tokens = .*$", "max_tokens = 48", text)
    if "overlap_tokens = " in text:
        text = _changed(r"(?m)^overlap_tokens = .*$", "overlap_tokens = 8", text)
    text = _changed(r"(?m)^lengths = .*$", "lengths = [1, 2, 17]", text)
    if insert:
        text = _changed(r"(?m)^(\[levels\.\w+\])$", rf"\1\n{insert}", text, count=1)
    recipe = folder / f"{name}.toml"
    recipe.write_text(text, encoding="utf-8")
    return recipe


def _changed(pattern: str, new: str, text: str, count: int = 0) -> str:
    changed = re.sub(pattern, new, text, count=count)
    assert changed != text, pattern
    return changed


def _bake_padding(base: Path, adapter: Path) -> None:
    """Write the base's tokenizer beside an adapter, as it is after padding to a fixed length."""
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (adapter / file).write_bytes((base / file).read_bytes())
    edit_json(
        adapter / "tokenizer.json",
        truncation={
            "direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0,
        },
        padding={
            "strategy": {"Fixed": 512}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>",
        },
    )  # fmt: skip


def _write(file: Path, data: object) -> None:
    file.write_text(json.dumps(data, indent=2), encoding="utf-8")
