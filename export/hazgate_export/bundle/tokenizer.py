"""The tokenizer of a level, copied into the bundle and checked against Hugging Face's."""

import hashlib
from pathlib import Path

from hazgate.bundle.manifest import TokenizerSpec
from hazgate.documents.files import sha256
from hazgate.text.tokenization import Tokenizer
from hazgate_export.bundle.compact_tokenizer import compact_file
from hazgate_export.errors import RecipeError
from hazgate_export.model.config import ModelConfig
from hazgate_export.model.sources import LevelSources
from hazgate_export.model.tokenizer_files import check_tokenizer_files, read_tokenizer_files
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.proof.tokenizer_parity import check_tokenizer
from hazgate_export.recipe import TokenizerRecipe


def copy_tokenizer(
    recipe: TokenizerRecipe, sources: LevelSources, config: ModelConfig, root: Path
) -> tuple[TokenizerSpec, Tokenizer]:
    """Copy the level's tokenizer into the bundle `root`, once if levels share it.

    Raises:
        RecipeError: there is no tokenizer, no padding id, or the recipe asks for more tokens than
            the model has positions.
        SourceError: the tokenizer is malformed, or its ids are not those that the model was
            trained with, by its configuration and by the base's tokenizer.
        ParityMissed: the runtime reads the proof texts otherwise than transformers.
    """
    base = sources.base
    # An adapter's tokenizer is the one that it was trained with.
    parts = [part for part in (sources.adapter, base) if part is not None]
    found = [read_tokenizer_files(part.directory, part.id) for part in parts]
    of_base = found[-1]
    chosen = found[0] or of_base
    if chosen is None:
        raise RecipeError(
            f"no tokenizer.json in {' and '.join(part.id for part in parts)}; save the fast "
            "tokenizer next to the weights"
        )
    architecture = config.architecture
    if architecture.pad_token_id is None:
        raise RecipeError(
            f"{base.id}: expected a pad_token_id in its config.json, got none; set it"
        )
    positions = architecture.max_tokens
    if recipe.max_tokens > positions:
        raise RecipeError(
            f"tokenizer.max_tokens is {recipe.max_tokens}, {base.id} has {positions} positions; "
            "lower max_tokens"
        )
    check_tokenizer_files(chosen, of_base, config)
    data = compact_file((chosen.directory / "tokenizer.json").read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    target = root / "tokenizer.json"
    if target.exists() and sha256(target) != digest:
        target = root / f"tokenizer-{digest[:8]}.json"
    target.write_bytes(data)
    spec = TokenizerSpec(
        file=target.name,
        max_tokens=recipe.max_tokens,
        window_tokens=recipe.window,
        overlap_tokens=recipe.overlap,
        close_tokens=recipe.close_tokens,
        sentences_from_tokens=recipe.sentences_from_tokens,
        sentence_margin=recipe.sentence_margin,
        pad_token_id=architecture.pad_token_id,
        special_tokens_in_text=recipe.special_tokens_in_text,
    )
    tokenizer = Tokenizer(target, spec)
    check_tokenizer(tokenizer, spec, chosen.directory, load_proof_texts())
    return spec, tokenizer
