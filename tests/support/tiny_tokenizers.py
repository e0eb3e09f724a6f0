"""A tokenizer of a few words between <bos> and <eos>, for tests of files beside a model."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors


def write_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` with the ids 0 to 3: padding, end, start and the word "a"."""
    words = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "a": 3}
    tokenizer = Tokenizer(models.WordLevel(words, "<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
