"""What a gate says of labelled texts, as arrays. The only part of evaluation that runs a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.gate import Gate

# Texts that are planned and answered together: long enough for full runs, short enough for a
# bar that moves.
CHUNK_TEXTS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What a gate said of n texts.

    `unsafe` is P(unsafe), shape [n]. `hazards` is each hazard's probability, shape [n, n_hazards],
    in the order of the level's labels, read whether the gate opened or not. `n_tokens` counts
    each text's own tokens, shape [n].
    """

    unsafe: NDArray[np.float64]
    hazards: NDArray[np.float64]
    n_tokens: NDArray[np.int64]

    @property
    def hazard(self) -> NDArray[np.int64]:
        """Index of the most probable hazard of each text."""
        return np.asarray(self.hazards.argmax(axis=1))

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Scores":
        """The scores of some texts, by mask or by position."""
        return Scores(
            unsafe=self.unsafe[chosen],
            hazards=self.hazards[chosen],
            n_tokens=self.n_tokens[chosen],
        )


def score(gate: Gate, texts: Sequence[str], advance: Callable[[int], None]) -> Scores:
    """Reads both levels of every text, the way the gate itself reads them.

    Args:
        gate: an open gate; with one worker a processor it reads a file soonest.
        texts: any number of well-formed strings.
        advance: told after each chunk how many texts were read.

    Raises:
        InputError: a text is longer than the gate takes; named by its position in its chunk.
        InferenceError: a model failed or gave a logit that is not finite.
    """
    unsafe: list[float] = []
    hazards: list[list[float]] = []
    n_tokens: list[int] = []
    for start in range(0, len(texts), CHUNK_TEXTS):
        chunk = texts[start : start + CHUNK_TEXTS]
        for verdict in gate.check_many(chunk, all_levels=True):
            unsafe.append(verdict.unsafe)
            hazards.append(list((verdict.hazards or {}).values()))
            n_tokens.append(verdict.tokens.total)
        advance(len(chunk))
    return Scores(
        unsafe=np.array(unsafe, dtype=np.float64),
        hazards=np.array(hazards, dtype=np.float64).reshape(-1, len(gate.hazards.labels)),
        n_tokens=np.array(n_tokens, dtype=np.int64),
    )


def unsafe_scores(
    gate: Gate, texts: Sequence[str], advance: Callable[[int], None]
) -> NDArray[np.float64]:
    """P(unsafe) of every text, shape [n]; arguments and errors as in `score`."""
    unsafe: list[float] = []
    for start in range(0, len(texts), CHUNK_TEXTS):
        chunk = texts[start : start + CHUNK_TEXTS]
        unsafe.extend(verdict.unsafe for verdict in gate.check_many(chunk))
        advance(len(chunk))
    return np.array(unsafe, dtype=np.float64)
