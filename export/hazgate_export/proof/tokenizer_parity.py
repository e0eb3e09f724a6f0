"""Comparison of the runtime's tokenizer with Hugging Face's, id by id."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer

from hazgate.bundle.manifest import TokenizerSpec
from hazgate.text.tokenization import Tokenizer
from hazgate_export.errors import ParityMissed
from hazgate_export.proof.texts import ProofText


def check_tokenizer(
    tokenizer: Tokenizer, spec: TokenizerSpec, directory: Path, texts: Sequence[ProofText]
) -> None:
    """Compare the ids of every text, alone and cut after a window.

    Args:
        tokenizer: the runtime's.
        spec: its limits; with special_tokens_in_text "text", Hugging Face splits special tokens,
            too (`split_special_tokens`).
        directory: holds the tokenizer as the model's authors published it.
        texts: texts to compare; each is also repeated until it is longer than a window.

    Raises:
        ParityMissed: names the texts whose ids differ.
    """
    reference = AutoTokenizer.from_pretrained(
        directory, use_fast=True, local_files_only=True, trust_remote_code=False
    )
    probes = [text.text for text in texts]
    probes += [
        " ".join([text] * (spec.window_tokens // (len(text) + 1) + 1)) for text in probes[:20]
    ]
    names = [text.id for text in texts] + [f"{text.id} repeated" for text in texts[:20]]
    differing = []
    for name, text, tokens in zip(names, probes, tokenizer.encode(probes), strict=True):
        expected = reference(
            text,
            truncation=True,
            max_length=spec.window_tokens,
            split_special_tokens=spec.special_tokens_in_text == "text",
        )["input_ids"]
        if list(tokens.windows[0].input_ids) != expected:
            differing.append(name)
    if differing:
        raise ParityMissed(
            f"tokenizer: ids of {len(differing)} of {len(probes)} texts differ from "
            f"transformers': {', '.join(differing[:10])}; check tokenizer.json and "
            "tokenizer.special_tokens_in_text"
        )
