"""From a text's logits, window by window, to scores and a decision. Pure: runs no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InputError
from hazgate.judging.decision import Decision, Rules, Temperature, decide
from hazgate.judging.policy import Policy
from hazgate.judging.scores import Activation, calibrated
from hazgate.judging.verdict import PolicyDecision, PolicyIdentity


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """By what texts are judged: a threshold alone, or the rules of a policy.

    Hazards are read of the windows whose calibrated P(unsafe) is at least `opens_at`, or, where
    the rules have hazards that block by themselves, of every window.
    """

    opens_at: float
    temperature: Temperature
    rules: Rules | None
    policy: PolicyIdentity | None

    @property
    def reads_every_window(self) -> bool:
        """Whether the hazards of windows that Level 1 finds safe matter."""
        return self.rules is not None and self.rules.needs_all_hazards


@dataclass(frozen=True, kw_only=True, slots=True)
class Heads:
    """What both levels' logits mean; `positive` is the place of Level 1's unsafe label."""

    level1: Activation
    positive: int
    level2: Activation
    hazard_labels: tuple[str, ...]

    def unsafe(self, level1_logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
        """Calibrated P(unsafe) of each window, shape [windows], of Level 1's logits."""
        return calibrated(level1_logits, temperature, self.level1)[:, self.positive]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What one text's logits come to; `worst_window` is the place of the most unsafe window."""

    unsafe: float
    worst_window: int
    hazards: Mapping[str, float] | None
    flagged: bool
    decision: PolicyDecision | None


def threshold_terms(threshold: float) -> Terms:
    """Flagged from this P(unsafe) on."""
    return Terms(opens_at=threshold, temperature=Temperature(), rules=None, policy=None)


def policy_terms(policy: Policy, tenant: str | None) -> Terms:
    """What `policy` has for a tenant.

    Raises:
        InputError: the policy does not name the tenant.
    """
    rules = policy.rules(tenant)
    return Terms(
        opens_at=rules.level1.controversial,
        temperature=rules.temperature,
        rules=rules,
        policy=PolicyIdentity(name=policy.name, digest=policy.digest, tenant=tenant),
    )


def terms_of(
    threshold: float, policy: Policy | None, shadow: Policy | None, tenant: str | None
) -> list[Terms]:
    """What a call is judged by: first what decides, then what is only reported beside it.

    Raises:
        InputError: a tenant is named and no policy names it.
    """
    if policy is None:
        if tenant is not None:
            raise InputError("a tenant was named, but the gate was opened without a policy")
        return [threshold_terms(threshold), *([policy_terms(shadow, None)] if shadow else [])]
    terms = [policy_terms(policy, tenant)]
    if shadow is not None:
        # A shadow that does not know the tenant yet would have judged it by its own rules.
        known = tenant if tenant in shadow.tenants else None
        terms.append(policy_terms(shadow, known))
    return terms


def windows_to_read(
    terms: Terms, level1_logits: NDArray[np.float32], heads: Heads, *, all_levels: bool
) -> list[int]:
    """Which windows of a text Level 2 is to read.

    Args:
        terms: by what the text is judged.
        level1_logits: Level 1's, [windows, labels].
        heads: what the logits mean.
        all_levels: where no window opens the gate, read the most unsafe one.
    """
    if terms.reads_every_window:
        return list(range(len(level1_logits)))
    unsafe = heads.unsafe(level1_logits, terms.temperature.level1)
    opened = [int(i) for i in np.flatnonzero(unsafe >= terms.opens_at)]
    return opened or ([int(unsafe.argmax())] if all_levels else [])


def judge(
    terms: Terms,
    level1_logits: NDArray[np.float32],
    heads: Heads,
    level2_logits: Sequence[NDArray[np.float32]],
) -> Judgement:
    """The most unsafe window decides; each hazard has its highest score over what was read.

    Args:
        terms: by what the text is judged.
        level1_logits: Level 1's, [windows, labels].
        heads: what the logits mean.
        level2_logits: Level 2's of the windows that were to be read, [n, hazards] each; may be
            none.

    Raises:
        InferenceError: a score is no number in [0, 1].
    """
    unsafe = heads.unsafe(level1_logits, terms.temperature.level1)
    worst = int(unsafe.argmax())
    hazards = None
    if level2_logits:
        read = np.concatenate(list(level2_logits))
        rows = calibrated(read, terms.temperature.level2, heads.level2)
        hazards = dict(zip(heads.hazard_labels, map(float, rows.max(axis=0)), strict=True))
    decided = _decide(terms, float(unsafe[worst]), hazards)
    return Judgement(
        unsafe=float(unsafe[worst]),
        worst_window=worst,
        hazards=hazards,
        flagged=decided.action != "allow" if decided else bool(unsafe[worst] >= terms.opens_at),
        decision=decided,
    )


def _decide(
    terms: Terms, unsafe: float, hazards: Mapping[str, float] | None
) -> PolicyDecision | None:
    if terms.rules is None or terms.policy is None:
        return None
    decision: Decision = decide(terms.rules, unsafe, hazards)
    return PolicyDecision(
        policy=terms.policy,
        action=decision.action,
        severity=decision.severity,
        hazards=decision.hazards,
    )
