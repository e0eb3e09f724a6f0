"""Tokenizers of transformers 4 and 5 give the ids of training, or are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from hazgate_export.errors import SourceError
from hazgate_export.model.config import ModelConfig, read_config
from hazgate_export.model.tokenizer_files import (
    TokenizerFiles,
    check_tokenizer_files,
    read_tokenizer_files,
    reference_tokenizer,
)
from tests.support.tokenizers import CLS, GOOD, MORNING, PAD, SEP, WORDS, write_word_tokenizer

_CLS = {
    "__type": "AddedToken",
    "content": "[CLS]",
    "lstrip": False,
    "normalized": False,
    "rstrip": False,
    "single_word": False,
}
ROLES = {"pad_token": "[PAD]", "cls_token": _CLS, "sep_token": "[SEP]"}


def files(
    folder: Path, settings: dict[str, Any] | None = None, **changes: object
) -> TokenizerFiles:
    """Write a tokenizer with padding and truncation of a training run, then change its file."""
    folder.mkdir(exist_ok=True)
    file = write_word_tokenizer(folder / "tokenizer.json")
    document = json.loads(file.read_text("utf-8")) | changes
    file.write_text(json.dumps(document), "utf-8")
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    read = read_tokenizer_files(folder, folder.name)
    assert read is not None
    return read


def config(**changes: object) -> ModelConfig:
    document: dict[str, object] = {
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "hidden_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 4,
        "max_position_embeddings": 8,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": PAD,
    }
    return read_config({**document, **changes}, "base")


def problem_of(chosen: TokenizerFiles, base: TokenizerFiles | None, read: ModelConfig) -> str:
    with pytest.raises(SourceError) as raised:
        check_tokenizer_files(chosen, base, read)
    return str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        None,
        {**ROLES, "tokenizer_class": "PreTrainedTokenizerFast"},
        {**ROLES, "tokenizer_class": "TokenizersBackend", "backend": "tokenizers"},
        {**ROLES, "tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["[UNK]"]},
        {**ROLES, "tokenizer_class": "PreTrainedTokenizerFast", "extra_special_tokens": ["[UNK]"]},
    ],
)
def test_every_spelling_gives_the_ids_of_training(
    tmp_path: Path, settings: dict[str, Any] | None
) -> None:
    read = files(tmp_path / "own", settings)
    assert (read.opening, read.closing) == ((CLS,), (SEP,))
    check_tokenizer_files(read, files(tmp_path / "base", ROLES), config(bos_token_id=CLS))
    reference = reference_tokenizer(tmp_path / "own", "own")
    got = reference("good morning good morning", padding=False, truncation=False)["input_ids"]
    assert got == [CLS, GOOD, MORNING, GOOD, MORNING, SEP]


def test_a_lost_post_processor_is_refused(tmp_path: Path) -> None:
    lost = files(tmp_path / "own", ROLES, post_processor=None)
    assert "puts no special token before or behind a text" in problem_of(lost, None, config())
    both = problem_of(lost, files(tmp_path / "base", ROLES), config())
    assert f"it puts [] before a text, base's puts [{CLS}]" in both


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vocab_size": 5}, "2 of its tokens, with ids up to 6, have no row in the embeddings"),
        ({"pad_token_id": 1}, "its pad token is 0, config.json says 1"),
        ({"bos_token_id": 4}, "it puts 2 before a text, config.json says bos_token_id 4"),
        ({"eos_token_id": 5, "sep_token_id": 6}, "says eos_token_id 5 and sep_token_id 6"),
    ],
)
def test_a_configuration_that_disagrees_is_shown(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    assert named in problem_of(files(tmp_path / "own", ROLES), None, config(**changes))


def test_mmberts_own_configuration_is_accepted(tmp_path: Path) -> None:
    """Its `cls_token_id` is the id of the closing token; `bos_token_id` opens a text."""
    own = files(tmp_path / "own", ROLES)
    ids = {"bos_token_id": CLS, "cls_token_id": SEP, "eos_token_id": SEP, "sep_token_id": SEP}
    check_tokenizer_files(own, None, config(**ids))


def test_a_base_that_disagrees_is_shown(tmp_path: Path) -> None:
    base = files(tmp_path / "base", {**ROLES, "sep_token": "[UNK]"})
    assert "its sep token is '[SEP]', base's is '[UNK]'" in problem_of(
        files(tmp_path / "own", ROLES), base, config()
    )
    words = {word: i for i, word in enumerate((*WORDS[:4], "morning", "good", "world"))}
    swapped = {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}
    moved = files(tmp_path / "moved", ROLES, model=swapped)
    assert "2 of its tokens have other ids than base's, e.g. 'good' is 5 and 4" in problem_of(
        moved, files(tmp_path / "base", ROLES), config()
    )


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_malformed_file_is_a_sources_error(tmp_path: Path, name: str) -> None:
    files(tmp_path / "own", ROLES)
    (tmp_path / "own" / name).write_text("[]", "utf-8")
    with pytest.raises(SourceError, match=name):
        read_tokenizer_files(tmp_path / "own", "own")


def test_an_unknown_class_is_a_sources_error(tmp_path: Path) -> None:
    files(tmp_path / "own", {**ROLES, "tokenizer_class": "NobodysTokenizer"})
    with pytest.raises(SourceError, match="transformers cannot load its tokenizer"):
        reference_tokenizer(tmp_path / "own", "own")
