"""The fixed inputs on which an export is compared with PyTorch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from hazgate.text.tokenization import Tokenizer
from hazgate_export.errors import RecipeError

_CORPUS = files("hazgate_export.proof") / "texts.jsonl"
_SEED = 20260


@dataclass(frozen=True, kw_only=True, slots=True)
class ProofText:
    """One text of the corpus; `lang` is a BCP-47 tag."""

    id: str
    lang: str
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One input of the comparison: a corpus text, or a given number of tokens."""

    id: str
    is_text: bool
    input_ids: tuple[int, ...]


def load_proof_texts() -> tuple[ProofText, ...]:
    """The project's own texts: many languages, scripts, lengths and oddities."""
    lines = _CORPUS.read_text(encoding="utf-8").splitlines()
    return tuple(ProofText(**json.loads(line)) for line in lines)


def proof_texts_sha256() -> str:
    """SHA-256 of the corpus file, hexadecimal."""
    return hashlib.sha256(_CORPUS.read_bytes()).hexdigest()


def read_calibration_texts(file: Path) -> list[str]:
    """The field `text` of every line of a JSON Lines file.

    Raises:
        RecipeError: the file cannot be read, or a line has no such string.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines if line.strip()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"calibration: {file} is no JSON Lines file of texts: {error}") from error
    if not all(isinstance(text, str) for text in texts):
        raise RecipeError(f"calibration: {file} has a text that is no string")
    return texts


def make_cases(
    texts: Sequence[ProofText], tokenizer: Tokenizer, lengths: Sequence[int], vocab_size: int
) -> tuple[Case, ...]:
    """The texts as the runtime tokenises them, then one case of each token count.

    The latter are ids drawn over the whole vocabulary with a fixed seed, so that every part of a
    large embedding table and every length around a window's edge is seen.
    """
    random = np.random.default_rng(_SEED)
    tokens = tokenizer.encode([text.text for text in texts])
    return (
        *(
            Case(id=text.id, is_text=True, input_ids=token.windows[0].input_ids)
            for text, token in zip(texts, tokens, strict=True)
        ),
        *(
            Case(
                id=f"{length}-tokens",
                is_text=False,
                input_ids=tuple(int(i) for i in random.integers(vocab_size, size=length)),
            )
            for length in sorted(set(lengths))
        ),
    )
