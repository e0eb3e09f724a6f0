"""A tiny BERT pair with random weights, for tests that need a whole bundle.

`tests/data/tiny-bundle.zip` is what the exporter makes of it; tests.support.make_tiny_bundle
writes that file, and tests of the runtime need no exporter.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.recipes import recipe_text, without_cascade

if TYPE_CHECKING:
    from hazgate_export.model.standin import StandIn

NAME = "tiny"
BASE_ID = "test/tiny"
MAX_TOKENS = 64
ARCHIVE = Path(__file__).parents[1] / "data" / "tiny-bundle.zip"
# Room for ids that no text makes.
_TOKENIZER_VOCABULARY, _VOCABULARY = 600, 616
# Of random weights that flag "How do I kill a Python process?" and let "summer" pass.
_SEED = 47
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


def unpack_tiny_bundle(folder: Path) -> Path:
    """Unpack the committed bundle into `folder`; return the bundle's root."""
    root = folder / "bundle"
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(root)
    return root


def write_tiny_recipe(folder: Path) -> Path:
    """Write the base, both adapters and the recipe that builds them; return the recipe."""
    write_tiny_standin(folder, base_id=BASE_ID, levels=LEVELS, seed=_SEED)
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


def write_tiny_standin(
    folder: Path, *, base_id: str, levels: Mapping[str, Sequence[str]], seed: int
) -> "StandIn":
    """Write a BERT of random weights and an adapter per level, with a small tokenizer."""
    # Imported here: only the exporter's suites have torch.
    from transformers import BertConfig

    from hazgate_export.model.standin import write_standin
    from hazgate_export.proof.texts import load_proof_texts

    return write_standin(
        folder,
        BertConfig(
            vocab_size=_VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=128,
            pad_token_id=0,
        ),
        # ASCII alone keeps the vocabulary small; all else falls back to bytes.
        texts=[text.text for text in load_proof_texts() if text.text.isascii()],
        base_id=base_id,
        levels=levels,
        lora_targets=("query", "key", "value", "dense"),
        lora_rank=4,
        tokenizer_vocabulary=_TOKENIZER_VOCABULARY,
        seed=seed,
    )


def write_quick_recipe(tiny_recipe: Path, file: Path, *, more_variants: str = "") -> Path:
    """Write a recipe of one level and one authored graph, which builds in a second or two.

    Args:
        tiny_recipe: the recipe of `write_tiny_recipe`, whose sources it shares.
        file: receives the recipe, in any folder.
        more_variants: tables of variants besides that graph's `fp32`.
    """
    text = without_cascade(tiny_recipe.read_text(encoding="utf-8"), dropped="level2")
    start, end = text.index("[variants.int8]"), text.index("[parity]")
    text = (text[:start] + more_variants + text[end:]).replace(
        'default_variant = "int8"', 'default_variant = "fp32"'
    )
    text = text.replace("[variants.fp32]\n", '[variants.fp32]\ngraph = "authored"\n')
    positive = 'positive = { label = "unsafe", threshold = 0.5, threshold_source = "default" }'
    text = text.replace("[levels.level1]\n", f"[levels.level1]\n{positive}\n")
    sources = tiny_recipe.parent.as_posix()
    for folder in ("base", "level1"):
        text = text.replace(f'directory = "{folder}"', f'directory = "{sources}/{folder}"')
    file.write_text(text, encoding="utf-8")
    return file
