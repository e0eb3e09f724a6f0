"""A tiny BERT pair with random weights: the whole way of a real bundle in a few seconds."""

from pathlib import Path

NAME = "tiny"
BASE_ID = "test/tiny"
MAX_TOKENS = 64
# The stand-in's tokenizer has 6,000 ids; some more leave room for ids that no text makes.
VOCABULARY = 6400
HAZARDS = (
    "S1_violent_crimes",
    "S2_nonviolent_crimes",
    "S3_sex_crimes",
    "S5_weapons_cbrne",
    "S6_self_harm",
    "S7_hate",
    "S8_specialized_advice",
    "S9_privacy",
    "S13_misinformation",
)
LEVELS = {"level1": ("safe", "unsafe"), "level2": HAZARDS}


def write_tiny_recipe(folder: Path) -> Path:
    """Writes the base, both adapters and the recipe that builds them; returns the recipe."""
    # Imported here: torch is of no use to tests that only read the names above.
    from transformers import BertConfig

    from hazgate_export.standin import write_standin

    write_standin(
        folder,
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=128,
            pad_token_id=0,
        ),
        base_id=BASE_ID,
        levels=LEVELS,
        lora_targets=("query", "key", "value", "dense"),
        lora_rank=4,
    )
    recipe = folder / "tiny.toml"
    recipe.write_text(tiny_recipe_text(), encoding="utf-8")
    return recipe


def tiny_recipe_text() -> str:
    """The recipe; int8 gets gates that random weights can pass, fp32 the real ones."""
    levels = "\n".join(
        f'[levels.{level}]\nadapter_id = "{BASE_ID}-{level}"\n'
        f'adapter = {{ directory = "{level}" }}\nlabels = {list(labels)}\n'
        for level, labels in LEVELS.items()
    )
    return f"""schema_version = 1
name = "{NAME}"
description = "Random weights for tests; its verdicts mean nothing."
opset = 18
default_variant = "int8"

[base]
id = "{BASE_ID}"
family = "bert"
pooling = "cls"
source = {{ directory = "base" }}

[tokenizer]
max_tokens = {MAX_TOKENS}
special_tokens_in_text = "text"

{levels}
[cascade]
gate = "level1"
positive_label = "unsafe"
threshold = 0.5
threshold_source = "default"
hazards = "level2"

[variants.fp32]
precision = "fp32"
gate = {{ max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }}

[variants.int8]
precision = "int8"
gate = {{ max_abs_logit_diff = 99.0, max_changed_share = 0.99, max_invariance_diff = 1e-4 }}

[parity]
lengths = [1, 2, 3, 8, 31, {MAX_TOKENS}]
"""
