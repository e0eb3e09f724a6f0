"""What the gate says of a text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hazgate.judging.decision import Action, Severity


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
class PolicyIdentity:
    """Which rules decided: a policy by the digest of its file, and whose of its rules."""

    name: str
    digest: str
    tenant: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyDecision:
    """What a policy makes of a text; see hazgate.judging.decision.Decision."""

    policy: PolicyIdentity
    action: Action
    severity: Severity
    hazards: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain JSON values."""
        return {
            "action": self.action,
            "severity": self.severity,
            "hazards": list(self.hazards),
            "policy": {
                "name": self.policy.name,
                "digest": self.policy.digest,
                "tenant": self.policy.tenant,
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the gate says of one text.

    `unsafe` is P(unsafe) in [0, 1] and `flagged` says whether it reached the threshold, or, under
    a policy, whether that flags or blocks the text.
    `hazard` is the most probable hazard and `hazards` the probability of each, in the level's
    order; both are None unless the gate opened or the caller asked for all levels.

    Of a text in several windows, `unsafe` is that of the window with the highest P(unsafe), and
    `span` are the characters of that window. Each hazard has its highest probability over the
    windows that opened the gate (if none did, in the one of `span`), so that they may sum to more
    than one. Those of a multi-label level hold or not by themselves and never need to sum to one.
    `truncated` says that the end of the text was not read.

    `decision` is the policy's, None without one. `shadow` is that of a policy which is only
    tried out: it changes nothing else here.
    """

    flagged: bool
    unsafe: float
    hazard: str | None
    hazards: Mapping[str, float] | None
    tokens: TokenCount
    truncated: bool
    span: Span
    decision: PolicyDecision | None
    shadow: PolicyDecision | None
    model: ModelIdentity

    @property
    def confidences(self) -> Mapping[str, float] | None:
        """P(unsafe and of that hazard) of each hazard: a score that stands alone.

        `hazards` are shares of what is wrong with an unsafe text; times P(unsafe) they can be held
        against a threshold one by one.
        """
        if self.hazards is None:
            return None
        return {name: self.unsafe * score for name, score in self.hazards.items()}

    def to(self, taxonomy: str) -> dict[str, float]:
        """The score of every category of another taxonomy, see hazgate.judging.taxonomy.

        Raises:
            InputError: there is no taxonomy of that name.
            BundleError: it does not know these hazards.
        """
        from hazgate.judging.taxonomy import load_taxonomy, translate

        return translate(load_taxonomy(taxonomy), self.hazards)

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
            "decision": None if self.decision is None else self.decision.to_dict(),
            "shadow": None if self.shadow is None else self.shadow.to_dict(),
            "model": {
                "bundle": self.model.bundle,
                "digest": self.model.digest,
                "variant": self.model.variant,
                "provider": self.model.provider,
            },
        }
