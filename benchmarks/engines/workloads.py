"""The engines' workloads: grids of equal lengths, and a stream of mixed ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hazgate.text.batching import pad, padding_share, plan_batches

SEED = 20264
# The stream's lengths are log-normal: most texts are short, a few are long.
_STREAM_MEDIAN_TOKENS = 40
_STREAM_SIGMA = 0.9
_STREAM_LIMITS = (8, 512)
_STREAM_BATCH = 32
_STREAM_BUDGET = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineWorkload:
    """One call of equal rows, or a stream of `n_texts`.

    "grid" is one run of `n_texts` rows of `tokens`. "padded" takes the stream in order of
    arrival, 32 texts at a time padded to the longest; "planned" and "packed" group it as the
    runtime does for graphs that compute positions and for graphs that compute tokens.
    """

    name: str
    kind: Literal["grid", "padded", "planned", "packed"]
    n_texts: int
    tokens: int | None = None


def grid(lengths: Sequence[int], batches: Sequence[tuple[int, int]]) -> tuple[EngineWorkload, ...]:
    """Return batch 1 at each of `lengths`, then each (rows, tokens) of `batches`."""
    shapes = [*((1, length) for length in lengths), *batches]
    return tuple(
        EngineWorkload(name=f"{rows}x{tokens}", kind="grid", n_texts=rows, tokens=tokens)
        for rows, tokens in shapes
    )


def stream(n_texts: int) -> tuple[EngineWorkload, ...]:
    """Return the stream of mixed lengths, batched in each way."""
    return (
        EngineWorkload(name="stream-padded", kind="padded", n_texts=n_texts),
        EngineWorkload(name="stream-planned", kind="planned", n_texts=n_texts),
        EngineWorkload(name="stream-packed", kind="packed", n_texts=n_texts),
    )


Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


def batches_of(workload: EngineWorkload, vocab_size: int) -> list[Batch]:
    """Return `input_ids` and `attention_mask` of every run that the workload takes."""
    random = np.random.default_rng(SEED)
    if workload.kind == "grid":
        shape = (workload.n_texts, workload.tokens or 1)
        ids = random.integers(vocab_size, size=shape, dtype=np.int64)
        return [(ids, np.ones_like(ids))]
    lengths, groups = _stream(workload)
    rows = [random.integers(1, vocab_size, size=n).tolist() for n in lengths]
    return [pad([rows[i] for i in group], 0) for group in groups]


def padded_share(workload: EngineWorkload) -> float:
    """Return the share of computed positions that are padding."""
    return 0.0 if workload.kind in ("grid", "packed") else padding_share(*_stream(workload))


def _stream(workload: EngineWorkload) -> tuple[list[int], list[list[int]]]:
    """Return lengths of the stream's texts, and the groups of texts that share a run."""
    random = np.random.default_rng(SEED)
    drawn = random.lognormal(np.log(_STREAM_MEDIAN_TOKENS), _STREAM_SIGMA, size=workload.n_texts)
    lengths = [int(n) for n in np.clip(drawn, *_STREAM_LIMITS)]
    if workload.kind == "planned":
        return lengths, plan_batches(lengths, _STREAM_BUDGET, "equal_length")
    if workload.kind == "packed":
        return lengths, plan_batches(lengths, _STREAM_BUDGET, "packed")
    every = list(range(len(lengths)))
    return lengths, [every[i : i + _STREAM_BATCH] for i in range(0, len(every), _STREAM_BATCH)]
