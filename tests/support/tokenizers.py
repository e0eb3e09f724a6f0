"""Small tokenizers: one of a few words, whose ids a test can write down, and one of letters."""

import string
from pathlib import Path
from typing import Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from hazgate.bundle.manifest import TokenizerSpec

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "morning", "world")
PAD, UNK, CLS, SEP, GOOD, MORNING, WORLD = range(len(WORDS))
_OTHER = "other"
_OTHER_WORDS = rf"(?<!\w)(?!(?:{'|'.join(WORDS[GOOD:])})(?!\w))\w+|[^\w\s]+"


def windows_spec(
    window_tokens: int,
    overlap_tokens: int,
    *,
    close_tokens: int | None = None,
    sentences_from_tokens: int | None = None,
    max_tokens: int | None = None,
    special_tokens_in_text: Literal["text", "token"] = "text",
) -> TokenizerSpec:
    """Return the windows of `tokenizer.json`; by default the model reads one at once."""
    return TokenizerSpec(
        file="tokenizer.json",
        max_tokens=window_tokens if max_tokens is None else max_tokens,
        window_tokens=window_tokens,
        overlap_tokens=overlap_tokens,
        close_tokens=close_tokens,
        sentences_from_tokens=sentences_from_tokens,
        pad_token_id=PAD,
        special_tokens_in_text=special_tokens_in_text,
    )


def write_word_tokenizer(file: Path, *, knows_others: bool = False) -> Path:
    """Write a tokenizer of `WORDS` that puts [CLS] before and [SEP] behind a text.

    Args:
        file: where.
        knows_others: read each other word as one that is known, with an id behind those of `WORDS`.
    """
    vocabulary = {word: i for i, word in enumerate((*WORDS, *([_OTHER] if knows_others else [])))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    if knows_others:
        tokenizer.normalizer = normalizers.Replace(Regex(_OTHER_WORDS), f" {_OTHER} ")
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    # Limits of a training run, which the served ones must replace.
    tokenizer.enable_truncation(max_length=3)
    tokenizer.enable_padding(length=7)
    tokenizer.save(str(file))
    return file


def write_letter_tokenizer(file: Path) -> Path:
    """Write a tokenizer as BERT's, which spells ASCII letter by letter and knows nothing else."""
    letters = [chr(code) for code in range(33, 127)]
    starts = string.ascii_letters + string.digits
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in starts)]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    tokenizer.save(str(file))
    return file
