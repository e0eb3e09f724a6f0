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
    """The text's own tokens: how many there are, how many were read, and in how many windows."""

    total: int
    read: int
    windows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Characters of a text from `start` to before `end`."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the gate says of one text.

    `unsafe` is P(unsafe) in [0, 1] and `flagged` says whether it reached the threshold.
    `hazard` is the most probable hazard and `hazards` the probability of each, in the level's
    order; both are None unless the gate opened or the caller asked for all levels.

    Of a text in several windows, `unsafe` is that of the window with the highest P(unsafe), and
    `span` are the characters of that window. Each hazard has its highest probability over the
    windows that opened the gate (if none did, in the one of `span`), so that they may sum to more
    than one.
    `truncated` says that the end of the text was not read.
    """

    flagged: bool
    unsafe: float
    hazard: str | None
    hazards: Mapping[str, float] | None
    tokens: TokenCount
    truncated: bool
    span: Span
    model: ModelIdentity

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON values, in the order of the fields."""
        return {
            "flagged": self.flagged,
            "unsafe": self.unsafe,
            "hazard": self.hazard,
            "hazards": None if self.hazards is None else dict(self.hazards),
            "tokens": {
                "total": self.tokens.total,
                "read": self.tokens.read,
                "windows": self.tokens.windows,
            },
            "truncated": self.truncated,
            "span": {"start": self.span.start, "end": self.span.end},
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
    span: Span,
    model: ModelIdentity,
) -> Verdict:
    """The verdict that follows from a text's probabilities.

    Args:
        unsafe: P(unsafe) of the gate.
        threshold: the gate opens at this P(unsafe) and above.
        hazards: probability of each hazard, or None when the hazard level was not read.
        tokens: how much of the text was read.
        span: where in the text P(unsafe) is highest.
        model: what gave the probabilities.
    """
    return Verdict(
        flagged=unsafe >= threshold,
        unsafe=unsafe,
        hazard=max(hazards, key=hazards.__getitem__) if hazards else None,
        hazards=hazards,
        tokens=tokens,
        truncated=tokens.read < tokens.total,
        span=span,
        model=model,
    )
