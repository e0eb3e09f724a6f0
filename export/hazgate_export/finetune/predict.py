"""Texts to a model's inputs, and a trained model's logits of texts or of their tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase

_BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTokens:
    """The tokens of a text that a model reads, special ones included.

    `offsets` are the characters of each, (0, 0) of a special one; `own` are the numbers of the
    tokens that are not special.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    own: tuple[int, ...]

    @property
    def own_offsets(self) -> list[tuple[int, int]]:
        """The characters of the text's own tokens."""
        return [self.offsets[i] for i in self.own]


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> list[list[int]]:
    """Return the token ids of each text, cut at `max_tokens`."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens)
    return cast(list[list[int]], encoded["input_ids"])


def read_tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> list[ReadTokens]:
    """Return the tokens of each text, cut at `max_tokens`."""
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_tokens,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    rows = zip(
        encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True
    )
    return [
        ReadTokens(
            ids=tuple(ids),
            offsets=tuple(map(tuple, offsets)),
            own=tuple(i for i, is_special in enumerate(special) if not is_special),
        )
        for ids, offsets, special in rows
    ]


def pad(
    encoded: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase
) -> tuple[Tensor, Tensor]:
    """Return token ids and mask, both int64 [batch, longest]."""
    longest = max(map(len, encoded))
    pad_id = cast(int, tokenizer.pad_token_id)
    input_ids = [[*ids, *[pad_id] * (longest - len(ids))] for ids in encoded]
    mask = [[1] * len(ids) + [0] * (longest - len(ids)) for ids in encoded]
    return torch.tensor(input_ids), torch.tensor(mask)


def predict_logits(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> Tensor:
    """Return logits of texts, float32 [len(texts), columns], in their order."""
    encoded = encode(tokenizer, texts, max_tokens)
    found = torch.zeros(len(encoded), model.config.num_labels)
    for batch, logits in _runs(model, tokenizer, encoded):
        found[batch] = logits
    return found


def predict_token_logits(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[ReadTokens]
) -> list[NDArray[np.float32]]:
    """Return logits of the own tokens of texts, each float32 [tokens, columns], in their order."""
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(texts)
    for batch, logits in _runs(model, tokenizer, [text.ids for text in texts]):
        for i, of_text in zip(batch, logits.numpy(), strict=True):
            found[i] = of_text[list(texts[i].own)]
    return found


def _runs(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, encoded: Sequence[Sequence[int]]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield numbers of texts of similar length with the model's logits of them, float32."""
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH_SIZE):
            batch = order[start : start + _BATCH_SIZE]
            input_ids, attention_mask = pad([encoded[i] for i in batch], tokenizer)
            logits = model(input_ids=input_ids, attention_mask=attention_mask).logits
            yield batch, logits.float()
