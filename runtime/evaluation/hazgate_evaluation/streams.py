"""Figures on texts that grow word by word: the share stopped, and how soon."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.gate import Gate
from hazgate_evaluation.estimates import SEED, Estimate, share
from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.scores import Scores
from hazgate_evaluation.truth import Truth

# A shorter text ends before there is much to stop.
MIN_TOKENS = 64
# Longer texts would take too long.
_MAX_TOKENS = 1024
_PIECE = re.compile(r"\s*\S+\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFigures:
    """Results of `Gate.watch` on the texts of one class.

    `flagged_whole` is the share that the gate flags when it reads the whole text at once,
    `stopped` the share that it stops while the text grows; Wilson intervals. `read_when_stopped`
    lists, ascending, the share of each stopped text's characters received by then.
    `tokens_read_per_token` compares the cost of watching with one reading of the text.
    """

    n_texts: int
    flagged_whole: Estimate | None
    stopped: Estimate | None
    read_when_stopped: tuple[float, ...]
    tokens_read_per_token: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Streams:
    """Both classes: texts of at least MIN_TOKENS, fed word by word."""

    stride_tokens: int
    unsafe: StreamFigures
    safe: StreamFigures


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """One watched text; `read_when_stopped` is None if it was never stopped."""

    read_when_stopped: float | None
    n_tokens_read: int


def choose_streams(
    truth: Truth, scores: Scores, n_texts: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw positions of long unsafe and long safe rows, at most `n_texts`, half of each."""
    random = np.random.default_rng(SEED)
    long = truth.known & (scores.n_tokens >= MIN_TOKENS) & (scores.n_tokens <= _MAX_TOKENS)

    def draw(eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.sort(random.permutation(np.flatnonzero(eligible))[: n_texts // 2])

    return draw(long & truth.unsafe), draw(long & ~truth.unsafe)


def measure_streams(
    gate: Gate,
    rows: Sequence[LabelledRow],
    chosen: tuple[NDArray[np.int64], NDArray[np.int64]],
    scores: Scores,
    n_workers: int,
    advance: Callable[[int], None],
) -> Streams:
    """Feed each text to its own watch.

    Args:
        gate: an open gate.
        rows: all rows.
        chosen: positions of unsafe and of safe rows.
        scores: the gate's scores on the whole texts.
        n_workers: texts watched at a time.
        advance: called after each text.
    """
    stride = gate.watch().stride_tokens
    with ThreadPoolExecutor(n_workers) as pool:

        def figures(positions: NDArray[np.int64]) -> StreamFigures:
            runs = []
            for run in pool.map(lambda i: _watch(gate, rows[i].text), positions.tolist()):
                runs.append(run)
                advance(1)
            stopped = [run.read_when_stopped is not None for run in runs]
            n_tokens = int(scores.n_tokens[positions].sum())
            n_read = sum(run.n_tokens_read for run in runs)
            return StreamFigures(
                n_texts=len(runs),
                flagged_whole=share(scores.unsafe[positions] >= gate.threshold),
                stopped=share(np.array(stopped, dtype=np.bool_)),
                read_when_stopped=tuple(
                    sorted(r.read_when_stopped for r in runs if r.read_when_stopped is not None)
                ),
                tokens_read_per_token=n_read / n_tokens if runs else None,
            )

        return Streams(stride_tokens=stride, unsafe=figures(chosen[0]), safe=figures(chosen[1]))


def pieces_of(text: str) -> list[str]:
    """Split a text into words with their space; joined, they give the text."""
    return _PIECE.findall(text) or [text]


def _watch(gate: Gate, text: str) -> _Run:
    watch = gate.watch()
    n_characters = 0
    for piece in pieces_of(text):
        n_characters += len(piece)
        if watch.add(piece):
            return _Run(
                read_when_stopped=n_characters / len(text), n_tokens_read=watch.n_tokens_read
            )
    return _Run(read_when_stopped=None, n_tokens_read=watch.n_tokens_read)
