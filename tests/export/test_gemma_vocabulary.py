"""mmBERT's vocabulary, as npm has it, is read as transformers reads it, in half the memory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from tokenizers import Tokenizer as FastTokenizer

from benchmarks.vocabulary import fetch_vocabulary
from hazgate.text.tokenization import Tokenizer
from hazgate_export.bundle.compact_tokenizer import compact_file
from hazgate_export.model.standin import write_tokenizer
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.proof.tokenizer_parity import check_tokenizer
from tests.support.sources import ROOT
from tests.support.tokenizers import windows_spec

pytestmark = pytest.mark.slow

SPEC = windows_spec(128, 32, max_tokens=512)


def test_the_compact_file_reads_all_proof_texts_as_transformers_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    vocabulary = fetch_vocabulary(ROOT / "build" / "rehearsal" / "vocabulary")
    assert vocabulary is not None, "npm gave no vocabulary"
    write_tokenizer(tmp_path, FastTokenizer.from_file(str(vocabulary)))
    published = tmp_path / "tokenizer.json"
    compact = tmp_path / "compact" / "tokenizer.json"
    compact.parent.mkdir()
    compact.write_bytes(compact_file(published.read_bytes()))
    merges = [
        len(json.loads(file.read_text(encoding="utf-8"))["model"]["merges"])
        for file in (published, compact)
    ]
    assert merges == [580_604, 234_864]
    modes: tuple[Literal["text", "token"], ...] = ("text", "token")
    for special in modes:
        spec = replace(SPEC, special_tokens_in_text=special)
        tokenizer = Tokenizer(compact, spec)
        check_tokenizer(tokenizer, spec, tmp_path, load_proof_texts())
        (tokens,) = tokenizer.encode(["hello"])
        assert tokens.windows[0].input_ids[:: len(tokens.windows[0].input_ids) - 1] == (2, 1)
    # transformers 4.57 takes every large local vocabulary for a wrong Mistral's, and says so.
    assert "incorrect" not in capfd.readouterr().err
