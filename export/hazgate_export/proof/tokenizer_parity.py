"""Comparison of the runtime's tokenizer with Hugging Face's, ids and characters."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from hazgate.bundle.manifest import TokenizerSpec
from hazgate.text.tokenization import Tokenizer
from hazgate_export.errors import ParityMissed
from hazgate_export.model.tokenizer_files import reference_tokenizer
from hazgate_export.proof.texts import ProofText


def check_tokenizer(
    tokenizer: Tokenizer, spec: TokenizerSpec, directory: Path, texts: Sequence[ProofText]
) -> None:
    """Compare the ids and the characters of every window of every text.

    Args:
        tokenizer: the runtime's.
        spec: its limits; with special_tokens_in_text "text", Hugging Face splits special tokens,
            too (`split_special_tokens`).
        directory: holds the tokenizer as the model's authors published it.
        texts: texts to compare; the first are also repeated until they are longer than a window,
            and each special or added token of the tokenizer is typed as a user would.

    Raises:
        SourceError: transformers cannot load it.
        ParityMissed: names the texts whose ids or characters differ.
    """
    reference = reference_tokenizer(directory, spec.file)
    probes = {text.id: text.text for text in texts}
    for text in texts[:20]:
        n_copies = spec.window_tokens // (len(text.text) + 1) + 1
        probes[f"{text.id} repeated"] = " ".join([text.text] * n_copies)
    for token in sorted(reference.get_added_vocab()):
        probes[f"added token {token!r}"] = f"a{token}b {token} c"
    read = tokenizer.encode(list(probes.values()))
    differing = [
        name
        for (name, text), tokens in zip(probes.items(), read, strict=True)
        if [(list(w.input_ids), w.start, w.end) for w in tokens.windows]
        != list(_windows(reference, text, spec))
    ]
    if differing:
        raise ParityMissed(
            f"tokenizer: ids of {len(differing)} of {len(probes)} texts differ from "
            f"transformers': {', '.join(differing[:10])}; check tokenizer.json and "
            "tokenizer.special_tokens_in_text"
        )


def _windows(
    reference: PreTrainedTokenizerBase, text: str, spec: TokenizerSpec
) -> Iterator[tuple[list[int], int, int]]:
    """Yield ids, first and last character of each window, from transformers' whole encoding."""
    encoded = reference(
        text,
        split_special_tokens=spec.special_tokens_in_text == "text",
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        truncation=False,
        padding=False,
        verbose=False,
    )
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    own = [i for i, special in enumerate(encoded["special_tokens_mask"]) if not special]
    n_special = len(ids) - len(own)
    first = own[0] if own else n_special
    before, after = ids[:first], ids[first + len(own) :]
    room, start = spec.window_tokens - n_special, 0
    while True:
        part = own[start : start + room]
        last = start + room >= len(own)
        yield (
            [*before, *(ids[i] for i in part), *after],
            0 if start == 0 else offsets[part[0]][0],
            len(text) if last else offsets[part[-1]][1],
        )
        if last:
            return
        start += room - spec.overlap_tokens
