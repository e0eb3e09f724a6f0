"""Eager attention of the installed transformers, computed some rows at a time.

Eager attention holds a score for every pair of tokens: at 32,768 tokens 4.3 GB a head, and as much
again for each mask. No row of scores depends on another, so blocks of rows give the same sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.modernbert import modeling_modernbert
from transformers.models.modernbert.modeling_modernbert import (
    ModernBertAttention,
    ModernBertModel,
    apply_rotary_pos_emb,
)

# Scores of a head held at once: 8 MB in float32.
_MAX_SCORES = 2**21
# Transformers' word for a layer that sees the whole text.
_ALL = (-1, -1)
_NO_MASK = torch.zeros(())


@contextmanager
def attention_in_blocks(model: torch.nn.Module, *, max_scores: int = _MAX_SCORES) -> Iterator[None]:
    """Let a ModernBERT compute its eager attention in blocks of rows.

    Other models stay as they are. Within it the model takes one text at a time, without padding.
    Not for several threads: it changes the library's table of attention functions.

    Args:
        model: a model that was loaded with eager attention.
        max_scores: scores of a head to hold at once; one row is the least.
    """
    functions = modeling_modernbert.MODERNBERT_ATTENTION_FUNCTION
    eager = functions["eager"]
    bodies = [module for module in model.modules() if isinstance(module, ModernBertModel)]

    def attend(
        module: ModernBertAttention,
        *,
        qkv: torch.Tensor,
        position_ids: torch.Tensor,
        local_attention: tuple[int, int],
        bs: int,
        dim: int,
        **_others: Any,  # noqa: ANN401
    ) -> tuple[torch.Tensor]:
        cos, sin = module.rotary_emb(qkv, position_ids=position_ids)
        query, key, value = qkv.transpose(3, 1).unbind(dim=2)
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        mixed = _mix(query, key, value, module.head_dim**-0.5, local_attention, max_scores)
        return (mixed.transpose(1, 2).reshape(bs, -1, dim),)

    functions["eager"] = attend
    for body in bodies:
        vars(body)["_update_attention_mask"] = _refuse_padding
    try:
        yield
    finally:
        functions["eager"] = eager
        for body in bodies:
            del vars(body)["_update_attention_mask"]


def _mix(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    window: tuple[int, int],
    max_scores: int,
) -> torch.Tensor:
    """Attend to `key` and `value`, all [1, heads, tokens, head]; _ALL is no window."""
    length = query.shape[2]
    rows = max(1, max_scores // length)
    mixed = torch.empty_like(query)
    # One head at a time: its keys and a block of scores stay in the processor's caches.
    for q, k, v, out in zip(query[0], key[0], value[0], mixed[0], strict=True):
        for start in range(0, length, rows):
            end = min(start + rows, length)
            # Keys beyond the block's windows would get a share of exactly 0.
            first, last = (0, length) if window == _ALL else (start - window[0], end + window[1])
            first, last = max(0, first), min(length, last)
            scores = torch.matmul(q[start:end], k[first:last].T).mul_(scale)
            if window != _ALL:
                distance = torch.arange(first, last)[None, :] - torch.arange(start, end)[:, None]
                outside = (distance < -window[0]) | (distance > window[1])
                scores.masked_fill_(outside, torch.finfo(scores.dtype).min)
            shares = torch.nn.functional.softmax(scores, dim=-1, dtype=torch.float32)
            torch.matmul(shares, v[first:last], out=out[start:end])
    return mixed


def _refuse_padding(
    attention_mask: torch.Tensor, output_attentions: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stand in for the masks of every pair of tokens.

    Raises:
        ValueError: there are several texts, one is padded, or the scores are asked for.
    """
    if output_attentions or len(attention_mask) > 1 or not bool(attention_mask.all()):
        raise ValueError("attention in blocks takes one text without padding, returns no scores")
    return _NO_MASK, _NO_MASK
