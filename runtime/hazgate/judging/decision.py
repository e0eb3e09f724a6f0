"""The step from calibrated probabilities to an action on a text. Pure: no file, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hazgate.documents.decode import spelt
from hazgate.judging.scores import check_probabilities

# `mask` replaces the offending windows, or the spans that a token level found, where a protocol can
# carry that, and blocks elsewhere.
Action = Literal["allow", "flag", "mask", "block"]
# Nobody can mask what nobody read.
UnreadAction = Literal["allow", "flag", "block"]
Mode = Literal["strict", "loose"]
Severity = Literal["safe", "controversial", "unsafe"]

_STRENGTH: dict[Action, int] = {"allow": 0, "flag": 1, "mask": 2, "block": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Temperature:
    """Divisors of each level's logits before softmax, see hazgate.judging.scores.calibrated."""

    level1: float = field(default=1.0, metadata=spelt("gate"))
    level2: float = field(default=1.0, metadata=spelt("hazards"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Level1Thresholds:
    """The calibrated P(unsafe) from which a text is `controversial`, and from which `unsafe`."""

    controversial: float
    unsafe: float


@dataclass(frozen=True, kw_only=True, slots=True)
class HazardRule:
    """The rule of one hazard.

    `action` applies to a text that counts as unsafe and whose score of this hazard reaches
    `threshold`. From the score `always` on, the hazard blocks whatever Level 1 said.
    """

    action: Action
    threshold: float
    always: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelRule:
    """The rule of one level beside the cascade.

    `action` applies to a text of which one of `labels` has at least the probability `threshold`.
    Without `labels` those count that the level looks for: its positive label, or every label of a
    multi-label level. A label in `thresholds` has its own in place of `threshold`; without either,
    the one that the bundle states. Only a token level can `mask`: it says which characters.
    """

    action: Action
    threshold: float | None = None
    labels: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """Everything that one tenant's decisions depend on.

    `hazards` has the hazards that the policy names; every other one follows `default`. `levels` has
    the levels beside the cascade that the policy names; no other one decides anything.
    """

    mode: Mode
    temperature: Temperature
    level1: Level1Thresholds
    default: HazardRule
    hazards: Mapping[str, HazardRule]
    levels: Mapping[str, LevelRule] = field(default_factory=dict)

    @property
    def needs_all_hazards(self) -> bool:
        """True if Level 2 must read every text, whether Level 1 flags it or not."""
        return any(rule.always is not None for rule in self.hazards.values())

    @property
    def masks_spans(self) -> bool:
        """True if what a token level finds is masked."""
        return any(rule.action == "mask" for rule in self.levels.values())

    def severity(self, unsafe: float) -> Severity:
        """Return the severity of a text of this calibrated P(unsafe)."""
        if unsafe >= self.level1.unsafe:
            return "unsafe"
        return "controversial" if unsafe >= self.level1.controversial else "safe"

    def counts_as_unsafe(self, severity: Severity) -> bool:
        """Return True if the hazards' actions apply to a text of this severity."""
        return severity == "unsafe" or (severity == "controversial" and self.mode == "strict")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The action on one text, and the hazards that led to it.

    `hazards` names the hazards that asked for `action`, the highest score first. It is empty if
    none did: the text does not count as unsafe, or the default decided.
    """

    action: Action
    severity: Severity
    hazards: tuple[str, ...]


def strongest(actions: Iterable[Action]) -> Action:
    """Return the strongest of some actions; "allow" if there is none."""
    return max(actions, key=_STRENGTH.__getitem__, default="allow")


def decide(rules: Rules, unsafe: float, hazards: Mapping[str, float] | None) -> Decision:
    """Return the decision on a text with these calibrated probabilities.

    Args:
        rules: one tenant's rules, see hazgate.judging.policy.Policy.rules.
        unsafe: Level 1's calibrated P(unsafe), in [0, 1].
        hazards: calibrated score of each hazard, in [0, 1]; None if Level 2 was not read, which
            is allowed only for a text that does not count as unsafe, under rules that do not
            need all hazards.

    Raises:
        InferenceError: a score is not a number in [0, 1].
        RuntimeError: the caller left out hazards that the rules depend on.
    """
    check_probabilities({"P(unsafe)": unsafe})
    severity = rules.severity(unsafe)
    counts = rules.counts_as_unsafe(severity)
    if hazards is None:
        if counts or rules.needs_all_hazards:
            raise RuntimeError(
                "this text cannot be decided without its hazards: run Level 2 on every text that "
                "counts as unsafe, and on every text if rules.needs_all_hazards"
            )
        return Decision(action="allow", severity=severity, hazards=())
    check_probabilities(hazards)
    missing = rules.hazards.keys() - hazards.keys()
    if missing:
        raise RuntimeError(
            f"no score of {', '.join(sorted(missing))}, which the rules name: "
            "call policy.check_labels with Level 2's labels when it is opened"
        )
    asked = _asked_for(rules, hazards, counts=counts)
    if not asked:
        action = rules.default.action if counts else "allow"
        return Decision(action=action, severity=severity, hazards=())
    decides = strongest(asked.values())
    deciding = [hazard for hazard, action in asked.items() if action == decides]
    deciding.sort(key=lambda hazard: -hazards[hazard])
    return Decision(action=decides, severity=severity, hazards=tuple(deciding))


def _asked_for(rules: Rules, hazards: Mapping[str, float], *, counts: bool) -> dict[str, Action]:
    """Return the action of each hazard whose rule applies."""
    asked: dict[str, Action] = {}
    for hazard, score in hazards.items():
        rule = rules.hazards.get(hazard, rules.default)
        if rule.always is not None and score >= rule.always:
            asked[hazard] = "block"
        elif counts and score >= rule.threshold:
            asked[hazard] = rule.action
    return asked
