"""A gate's scores on labelled texts, as arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hazgate.gate import Gate

# Texts answered together: enough for full runs, few enough for a progress bar that moves.
CHUNK_TEXTS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelScores:
    """A level's answers beside a cascade on n texts, shape [n, n_labels] each.

    `probabilities` are of each label, in the level's order; `holds` is True where the label holds
    by the bundle's thresholds.
    """

    probabilities: NDArray[np.float64]
    holds: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "LevelScores":
        """Select the answers on some texts, by mask or by position."""
        return LevelScores(probabilities=self.probabilities[chosen], holds=self.holds[chosen])


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """A gate's scores on n texts.

    `unsafe` is P(unsafe), shape [n]. `hazards` is each hazard's probability, shape [n, n_hazards],
    in the order of the level's labels; NaN where Level 2 did not read the text, and none for the
    gate of one level. `n_tokens` counts
    each text's own tokens, shape [n]. `levels` has the answers of levels beside the cascade.
    """

    unsafe: NDArray[np.float64]
    hazards: NDArray[np.float64]
    n_tokens: NDArray[np.int64]
    levels: Mapping[str, LevelScores] = field(default_factory=dict)

    @property
    def hazard(self) -> NDArray[np.int64]:
        """Index of each text's most probable hazard; meaningless where Level 2 did not read it."""
        if not self.hazards.shape[1]:
            return np.full(len(self.unsafe), -1, dtype=np.int64)
        return np.asarray(self.hazards.argmax(axis=1))

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Scores":
        """Select the scores of some texts, by mask or by position."""
        return Scores(
            unsafe=self.unsafe[chosen],
            hazards=self.hazards[chosen],
            n_tokens=self.n_tokens[chosen],
            levels={name: level.take(chosen) for name, level in self.levels.items()},
        )


def score(
    gate: Gate,
    texts: Sequence[str],
    with_hazards: NDArray[np.bool_],
    advance: Callable[[int], None],
    *,
    levels: Sequence[str] = (),
) -> Scores:
    """Score every text as the gate reads it, whole: no score is that of an early exit.

    Args:
        gate: an open gate; one worker per processor is fastest.
        texts: any number of well-formed strings.
        with_hazards: True where Level 2 also reads a text that is not flagged, shape [n].
        advance: called after each chunk with its number of texts.
        levels: names of levels beside the cascade that read every text, too.

    Raises:
        InputError: a text is longer than the gate takes; names its position in its chunk.
        InferenceError: a model failed or gave a logit that is not finite.
    """
    found = Scores(
        unsafe=np.empty(len(texts)),
        hazards=np.full((len(texts), len(gate.hazards)), np.nan),
        n_tokens=np.empty(len(texts), dtype=np.int64),
        levels={
            name: LevelScores(
                probabilities=np.empty((len(texts), len(gate.beside[name].labels))),
                holds=np.zeros((len(texts), len(gate.beside[name].labels)), dtype=np.bool_),
            )
            for name in levels
        },
    )
    for all_levels in (True, False):
        chosen = np.flatnonzero(with_hazards == all_levels).tolist()
        for start in range(0, len(chosen), CHUNK_TEXTS):
            chunk = chosen[start : start + CHUNK_TEXTS]
            verdicts = gate.check_many(
                [texts[i] for i in chunk], all_levels=all_levels, levels=levels, whole=True
            )
            for i, verdict in zip(chunk, verdicts, strict=True):
                found.unsafe[i] = verdict.unsafe
                found.n_tokens[i] = verdict.tokens.total
                if verdict.hazards is not None:
                    found.hazards[i] = list(verdict.hazards.values())
                for name, level in found.levels.items():
                    result = verdict.levels[name]
                    level.probabilities[i] = list(result.scores.values())
                    level.holds[i] = [label in result.labels for label in result.scores]
            advance(len(chunk))
    return found


def unsafe_scores(
    gate: Gate, texts: Sequence[str], advance: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return P(unsafe) of every text with its views, and as written, shape [n] each.

    Arguments and errors as in `score`.
    """
    pairs: list[tuple[float, float]] = []
    for start in range(0, len(texts), CHUNK_TEXTS):
        chunk = texts[start : start + CHUNK_TEXTS]
        pairs.extend(
            (verdict.unsafe, verdict.unsafe if verdict.views is None else verdict.views.as_written)
            for verdict in gate.check_many(chunk, whole=True)
        )
        advance(len(chunk))
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
