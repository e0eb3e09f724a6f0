"""A tokenizer without its dead merges gives the same ids and offsets, in less memory."""

import itertools
import json
import random
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from hazgate_export.bundle import compact_tokenizer
from hazgate_export.bundle.compact_tokenizer import compact_document, compact_file, living_merges
from hazgate_export.proof.texts import load_proof_texts

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """A vocabulary as SentencePiece's converters write it: every split of every token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = BpeTrainer(
        vocab_size=2500, special_tokens=["<unk>", "<bos>", *BYTES], show_progress=False
    )
    tokenizer.train_from_iterator([text.text for text in load_proof_texts()], trainer)
    found: dict[str, Any] = json.loads(tokenizer.to_str())
    vocab = found["model"]["vocab"]
    learned = {token for token in vocab if token not in ("<unk>", "<bos>", *BYTES)}
    found["model"]["merges"] = [
        [token[:i], token[i:]]
        for token in sorted(learned, key=vocab.__getitem__)
        for i in range(1, len(token))
        if {token[:i], token[i:]} <= learned
    ]
    return found


def _load(document: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(document))


def _texts(document: dict[str, Any]) -> list[str]:
    drawn = random.Random(1)
    letters = sorted({c for token in document["model"]["vocab"] for c in token})
    noise = ["".join(drawn.choices(letters, k=40)) for _ in range(500)]
    return [*(text.text for text in load_proof_texts()), *noise, "<bos> x <0x41>"]


def test_dead_merges_go_and_nothing_changes(document: dict[str, Any]) -> None:
    compact = compact_document(document)
    assert compact is not None
    assert len(compact["model"]["merges"]) < len(document["model"]["merges"]) * 9 / 10
    assert all(isinstance(merge, str) for merge in compact["model"]["merges"])
    texts = _texts(document)
    old, new = _load(document).encode_batch(texts), _load(compact).encode_batch(texts)
    assert [(e.ids, e.offsets) for e in old] == [(e.ids, e.offsets) for e in new]


def test_every_merge_that_stays_is_needed(document: dict[str, Any]) -> None:
    compact = compact_document(document)
    assert compact is not None
    merges = compact["model"]["merges"]
    for merge in merges[:: len(merges) // 20]:
        without = {
            **compact,
            "model": {**compact["model"], "merges": [m for m in merges if m != merge]},
        }
        token = merge.replace(" ", "")
        assert len(_load(compact).encode(token).ids) < len(_load(without).encode(token).ids)


def test_the_order_of_merges_decides_which_of_them_live() -> None:
    # "abc" is made of "ab" and "c" or of "a" and "bc": whichever pair ranks first.
    assert living_merges([("a", "b"), ("b", "c"), ("a", "bc"), ("ab", "c")]) == [
        ("a", "b"),
        ("b", "c"),
        ("ab", "c"),
    ]


def test_all_small_tables_of_merges_keep_their_meaning() -> None:
    pairs = [("a", "b"), ("b", "a"), ("ab", "a"), ("a", "ba"), ("ba", "b"), ("aba", "b")]
    strings = ["".join(s) for n in range(1, 7) for s in itertools.product("ab", repeat=n)]
    vocab = {token: i for i, token in enumerate(["a", "b", "ab", "ba", "aba", "bab", "abab"])}
    for order in itertools.islice(itertools.permutations(pairs), 0, None, 7):
        old = Tokenizer(models.BPE(vocab, list(order)))
        new = Tokenizer(models.BPE(vocab, living_merges(order)))
        assert [e.ids for e in old.encode_batch(strings)] == [
            e.ids for e in new.encode_batch(strings)
        ]


@pytest.mark.parametrize(
    "model",
    [
        {"type": "WordPiece"},
        {"dropout": 0.1},
        {"end_of_word_suffix": "</w>"},
        {"continuing_subword_prefix": "##"},
        {"unk_token": "a"},
        {"merges": ["<0xE2> <0x96>"]},
    ],
)
def test_other_tokenizers_stay_as_they_are(model: dict[str, Any]) -> None:
    plain = {"model": {"type": "BPE", "merges": ["a b"], **model}}
    assert compact_document(plain) is None


def test_a_compact_file_that_reads_a_text_otherwise_is_not_taken(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact_tokenizer, "_MIN_BYTES", 0)
    monkeypatch.setattr(compact_tokenizer, "_N_RANDOM", 100)
    plain = json.dumps(document).encode()
    assert len(compact_file(plain)) < len(plain)
    compact_file.cache_clear()
    monkeypatch.setattr(
        compact_tokenizer, "living_merges", lambda merges: living_merges(merges)[:-1]
    )
    assert compact_file(plain) == plain


def test_a_small_file_stays_as_its_authors_wrote_it(document: dict[str, Any]) -> None:
    plain = json.dumps(document).encode()
    compact_file.cache_clear()
    assert compact_file(plain) is plain
