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
    in the order of the level's labels; NaN of texts whose hazards nobody asked for and at which
    the gate stayed shut. `n_tokens` counts each text's own tokens, shape [n].
    """

    unsafe: NDArray[np.float64]
    hazards: NDArray[np.float64]
    n_tokens: NDArray[np.int64]

    @property
    def hazard(self) -> NDArray[np.int64]:
        """Index of the most probable hazard of each text; of no meaning where none was read."""
        return np.asarray(self.hazards.argmax(axis=1))

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Scores":
        """The scores of some texts, by mask or by position."""
        return Scores(
            unsafe=self.unsafe[chosen],
            hazards=self.hazards[chosen],
            n_tokens=self.n_tokens[chosen],
        )


def score(
    gate: Gate,
    texts: Sequence[str],
    with_hazards: NDArray[np.bool_],
    advance: Callable[[int], None],
) -> Scores:
    """Reads every text the way the gate itself reads it.

    Args:
        gate: an open gate; with one worker a processor it reads a file soonest.
        texts: any number of well-formed strings.
        with_hazards: of which texts Level 2 is read though the gate stays shut, shape [n].
        advance: told after each chunk how many texts were read.

    Raises:
        InputError: a text is longer than the gate takes; named by its position in its chunk.
        InferenceError: a model failed or gave a logit that is not finite.
    """
    found = Scores(
        unsafe=np.empty(len(texts)),
        hazards=np.full((len(texts), len(gate.level2.labels)), np.nan),
        n_tokens=np.empty(len(texts), dtype=np.int64),
    )
    for all_levels in (True, False):
        chosen = np.flatnonzero(with_hazards == all_levels).tolist()
        for start in range(0, len(chosen), CHUNK_TEXTS):
            chunk = chosen[start : start + CHUNK_TEXTS]
            verdicts = gate.check_many([texts[i] for i in chunk], all_levels=all_levels)
            for i, verdict in zip(chunk, verdicts, strict=True):
                found.unsafe[i] = verdict.unsafe
                found.n_tokens[i] = verdict.tokens.total
                if verdict.hazards is not None:
                    found.hazards[i] = list(verdict.hazards.values())
            advance(len(chunk))
    return found


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
