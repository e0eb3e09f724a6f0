"""The fixed inputs on which an export is compared with PyTorch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from hazgate.documents.jsonl import checked_rows, parse_object, string_field
from hazgate.text.tokenization import Tokenizer
from hazgate_export.errors import RecipeError
from hazgate_export.recipe import LoadedRecipe

_PROOF_TEXTS = files("hazgate_export.proof") / "texts.jsonl"
_SEED = 20260


@dataclass(frozen=True, kw_only=True, slots=True)
class ProofText:
    """One of the exporter's own texts; `lang` is a BCP-47 tag."""

    id: str
    lang: str
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One input of the comparison: a proof text, or a given number of tokens.

    The first `n_before` and the last `n_after` tokens are special ones around a text.
    """

    id: str
    is_text: bool
    input_ids: tuple[int, ...]
    n_before: int = 0
    n_after: int = 0

    @property
    def own(self) -> slice:
        """The tokens that are no special ones around the text."""
        return slice(self.n_before, len(self.input_ids) - self.n_after)

    @property
    def n_own(self) -> int:
        """Number of these tokens."""
        return len(self.input_ids) - self.n_before - self.n_after


def load_proof_texts() -> tuple[ProofText, ...]:
    """Read the project's own texts: many languages, scripts, lengths and oddities."""
    lines = _PROOF_TEXTS.read_bytes().splitlines()
    return tuple(ProofText(**json.loads(line)) for line in lines)


def proof_texts_sha256() -> str:
    """Return the SHA-256 of the proof texts' file, hexadecimal."""
    return hashlib.sha256(_PROOF_TEXTS.read_bytes()).hexdigest()


def int8_activation_ids(loaded: LoadedRecipe, tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """Tokenise the texts whose activations set int8's scales.

    They are the proof texts and an even sample of the files in `[int8_activations]`.

    Raises:
        RecipeError: one of these files is not a JSON Lines file of texts.
    """
    settings = loaded.recipe.int8_activations
    texts = [text for file in settings.files for text in _read_texts(loaded.folder / file)]
    stride = max(1, -(-len(texts) // settings.max_texts))
    own = [text.text for text in load_proof_texts()]
    return [t.windows[0].input_ids for t in tokenizer.encode([*own, *texts[::stride]])]


def _case_of(text: ProofText, tokenizer: Tokenizer) -> Case:
    tokens, own = tokenizer.encode_long(text.text)
    return Case(
        id=text.id,
        is_text=True,
        input_ids=tokens.windows[0].input_ids,
        n_before=len(own.before),
        n_after=len(own.after),
    )


def _read_texts(file: Path) -> list[str]:
    """Read the field `text` of every line of a JSON Lines file."""

    def refuse(problem: str) -> RecipeError:
        return RecipeError(f"int8_activations.files: {problem}")

    def text_of(_number: int, line: bytes) -> str:
        return string_field(parse_object(line), "text")

    return list(checked_rows(file, text_of, error=refuse))


def make_cases(
    texts: Sequence[ProofText], tokenizer: Tokenizer, lengths: Sequence[int], vocab_size: int
) -> tuple[Case, ...]:
    """Make a case of each text as the runtime tokenises it, and one of each token count.

    The latter are ids drawn from the whole vocabulary with a fixed seed. They cover every part of
    a large embedding table and every length around a window's edge.
    """
    random = np.random.default_rng(_SEED)
    return (
        *(_case_of(text, tokenizer) for text in texts),
        *(
            Case(
                id=f"{length}-tokens",
                is_text=False,
                input_ids=tuple(int(i) for i in random.integers(vocab_size, size=length)),
            )
            for length in sorted(set(lengths))
        ),
    )
