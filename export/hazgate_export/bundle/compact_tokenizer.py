"""A tokenizer file with only the merges that can ever happen: the same ids in less memory.

Vocabularies that come from SentencePiece, such as Gemma's, list every split of every token as a
merge: 580,604 merges for 256,000 tokens. Most of them are dead. BPE applies the merge of the least
rank first. If a stretch of text becomes one token, no merge has crossed its borders before, so the
merges inside came in the order in which they come when the token's own characters stand alone.
Their last one makes the token; every other split of it never happens, in any text.
"""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any

from tokenizers import Encoding, Tokenizer

from hazgate_export.proof.texts import load_proof_texts

# Smaller files load in no time and stay as their authors wrote them.
_MIN_BYTES = 1 << 20
_N_RANDOM, _TOKENS_OF_RANDOM = 20_000, 6
_CHUNK_TEXTS = 10_000
# A byte of a character that the vocabulary does not have.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")

Merge = tuple[str, str]


@lru_cache(maxsize=1)  # the levels of a bundle share a base
def compact_file(plain: bytes) -> bytes:
    """Return a smaller tokenizer file of equal ids and offsets, or `plain` if there is none.

    Every token's own text, random sequences of tokens and the proof texts are encoded with both.
    """
    if len(plain) < _MIN_BYTES:
        return plain
    compact = compact_document(json.loads(plain))
    if compact is None:
        return plain
    data = json.dumps(compact, ensure_ascii=False, separators=(",", ":")).encode()
    return data if _same_tokenizer(plain, data) else plain


def compact_document(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a tokenizer.json without dead merges; None if it is no BPE that this applies to."""
    model = document["model"]
    if model.get("type") != "BPE" or any(
        model.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    ):
        return None
    merges: list[Merge] = [
        (pair[0], pair[1])
        for pair in (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    ]
    parts = {part for merge in merges for part in merge}
    # Such symbols do not come from the characters that their names have.
    if model.get("unk_token") in parts or any(map(_BYTE.fullmatch, parts)):
        return None
    living = living_merges(merges)
    # A list takes twice the memory while it is read; a string cannot hold a space.
    written = living if any(" " in part for part in parts) else [f"{a} {b}" for a, b in living]
    return {**document, "model": {**model, "merges": written}}


def living_merges(merges: Sequence[Merge]) -> list[Merge]:
    """Return the merges that can happen, in the same order."""
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    lasts = (_last_merge(token, ranks) for token in {a + b for a, b in merges})
    return [merges[rank] for rank in sorted(rank for rank in lasts if rank is not None)]


def _last_merge(token: str, ranks: Mapping[Merge, int]) -> int | None:
    """Return the rank of the merge that makes `token` of its characters; None if none does."""
    symbols = list(token)
    last = None
    while len(symbols) > 1:
        pairs = ((ranks.get((a, b)), i) for i, (a, b) in enumerate(pairwise(symbols)))
        found = [(rank, i) for rank, i in pairs if rank is not None]
        if not found:
            return None
        last, i = min(found)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return last


def _same_tokenizer(plain: bytes, compact: bytes) -> bool:
    old, new = Tokenizer.from_buffer(plain), Tokenizer.from_buffer(compact)
    for tokenizer in (old, new):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    for special_tokens_are_text in (True, False):
        old.encode_special_tokens = new.encode_special_tokens = special_tokens_are_text
        probes = _probes(sorted(old.get_vocab(with_added_tokens=True)))
        while texts := list(islice(probes, _CHUNK_TEXTS)):
            for a, b in zip(old.encode_batch(texts), new.encode_batch(texts), strict=True):
                if _content(a) != _content(b):
                    return False
    return True


def _content(encoding: Encoding) -> tuple[list[int], list[tuple[int, int]]]:
    return encoding.ids, encoding.offsets


def _probes(tokens: Sequence[str]) -> Iterator[str]:
    yield from (text.text for text in load_proof_texts())
    yield from tokens
    drawn = random.Random(0)  # noqa: S311 - no secret
    for _ in range(_N_RANDOM):
        yield "".join(drawn.choices(tokens, k=_TOKENS_OF_RANDOM)).replace("▁", " ")
