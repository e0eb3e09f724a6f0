"""A tiny BERT pair with random weights: the whole way of a real bundle in a few seconds."""

from pathlib import Path

from tests.support.recipes import recipe_text

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
# What every graph of the tiny bundle maps: its embedding table, above all.
SHARED_WEIGHTS = "weights/level1-fp32+level1-int8+level2-fp32+level2-int8.bin"
LEVELS = {"level1": ("safe", "unsafe"), "level2": HAZARDS}


def write_tiny_recipe(folder: Path) -> Path:
    """Writes the base, both adapters and the recipe that builds them; returns the recipe."""
    # Imported here: torch is of no use to tests that only read the names above.
    from transformers import BertConfig

    from hazgate_export.model.standin import write_standin
    from hazgate_export.proof.texts import load_proof_texts

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
        texts=[text.text for text in load_proof_texts()],
        base_id=BASE_ID,
        levels=LEVELS,
        lora_targets=("query", "key", "value", "dense"),
        lora_rank=4,
    )
    recipe = folder / "tiny.toml"
    text = recipe_text(
        name=NAME,
        base_id=BASE_ID,
        family="bert",
        pooling="cls",
        levels=LEVELS,
        max_tokens=MAX_TOKENS,
        default_variant="int8",
        int8_scheme="dynamic",
        lengths=(1, 2, 3, 8, 31, MAX_TOKENS),
    )
    recipe.write_text(text, encoding="utf-8")
    return recipe
