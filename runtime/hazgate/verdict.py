"""What the gate says of a text, and how probabilities become that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelIdentity:
    """Which weights, in which arithmetic, on which hardware path, gave an answer."""

    bundle: str
    digest: str
    variant: str
    provider: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenCount:
    """The text's own tokens: how many there are, and how many the model read."""

    total: int
    read: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the gate says of one text.

    `unsafe` is P(unsafe) in [0, 1] and `flagged` says whether it reached the threshold.
    `hazard` is the most probable hazard and `hazards` the probability of each, in the level's
    order; both are None unless the gate opened or the caller asked for all levels.
    `truncated` says that the end of the text was not read.
    """

    flagged: bool
    unsafe: float
    hazard: str | None
    hazards: Mapping[str, float] | None
    tokens: TokenCount
    truncated: bool
    model: ModelIdentity

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON values, in the order of the fields."""
        return {
            "flagged": self.flagged,
            "unsafe": self.unsafe,
            "hazard": self.hazard,
            "hazards": None if self.hazards is None else dict(self.hazards),
            "tokens": {"total": self.tokens.total, "read": self.tokens.read},
            "truncated": self.truncated,
            "model": {
                "bundle": self.model.bundle,
                "digest": self.model.digest,
                "variant": self.model.variant,
                "provider": self.model.provider,
            },
        }


def decide(
    *,
    unsafe: float,
    threshold: float,
    hazards: Mapping[str, float] | None,
    tokens: TokenCount,
    model: ModelIdentity,
) -> Verdict:
    """The verdict that follows from a text's probabilities.

    Args:
        unsafe: P(unsafe) of the gate.
        threshold: the gate opens at this P(unsafe) and above.
        hazards: probability of each hazard, or None when the hazard level was not read.
        tokens: how much of the text was read.
        model: what gave the probabilities.
    """
    return Verdict(
        flagged=unsafe >= threshold,
        unsafe=unsafe,
        hazard=max(hazards, key=hazards.__getitem__) if hazards else None,
        hazards=hazards,
        tokens=tokens,
        truncated=tokens.read < tokens.total,
        model=model,
    )
