"""A tokenizer of a few words, whose ids a test can write down."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "morning", "world")
PAD, UNK, CLS, SEP, GOOD, MORNING, WORLD = range(len(WORDS))


def write_word_tokenizer(file: Path) -> Path:
    """Write a tokenizer of `WORDS` that puts [CLS] before and [SEP] behind a text."""
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
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
