"""The project's proof texts as the benchmarks use them: tokenised, or in one random order."""

from collections.abc import Sequence

import numpy as np

from hazgate.bundle.bundle import Bundle
from hazgate.text.tokenization import Tokenizer
from hazgate_export.proof.texts import load_proof_texts

_SEED = 20264


def proof_texts() -> list[str]:
    """Return the texts in the order of their file."""
    return [text.text for text in load_proof_texts()]


def shuffled_texts() -> list[str]:
    """Return the texts in one random order, the same every time."""
    texts = proof_texts()
    return [texts[i] for i in np.random.default_rng(_SEED).permutation(len(texts)).tolist()]


def proof_rows(bundle: Bundle, level: str) -> tuple[tuple[int, ...], ...]:
    """Return the token ids of each text's first window, special tokens included."""
    tokens = _tokenizer(bundle, level).encode(proof_texts())
    return tuple(tuple(text.windows[0].input_ids) for text in tokens)


def token_counts(bundle: Bundle, texts: Sequence[str]) -> list[int]:
    """Count Level 1's tokens of each text, special tokens excluded."""
    tokenizer = _tokenizer(bundle, bundle.manifest.cascade_for("this benchmark").level1)
    return [text.n_total for text in tokenizer.encode(texts)]


def _tokenizer(bundle: Bundle, level: str) -> Tokenizer:
    spec = bundle.manifest.levels[level].tokenizer
    return Tokenizer(bundle.file(spec.file), spec)
