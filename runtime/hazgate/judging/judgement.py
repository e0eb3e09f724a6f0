"""The step from the logits of a text's windows to scores and a decision. Pure: runs no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InputError
from hazgate.judging.decision import Action, Decision, Rules, Temperature, decide, strongest
from hazgate.judging.panel import decide_levels, spans_to_mask
from hazgate.judging.policy import Policy
from hazgate.judging.scores import Activation, calibrated
from hazgate.judging.speech import UNKNOWN_WORDS, UNVOUCHED_LANGUAGE, Role, threshold_for
from hazgate.judging.verdict import LevelResult, PolicyDecision, PolicyIdentity


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The terms that judge a text: a threshold alone, or the rules of a policy.

    Level 2 reads the windows whose calibrated P(unsafe) is at least `opens_at`; it reads every
    window if the rules have hazards that block by themselves. `on_unknown` is the action on a text
    that was not understood, `on_unvouched` on one in a language that is not vouched for.
    """

    opens_at: float
    temperature: Temperature
    rules: Rules | None
    policy: PolicyIdentity | None
    on_unknown: Action
    on_unvouched: Action = "allow"

    @property
    def reads_every_window(self) -> bool:
        """True if the hazards of windows that Level 1 finds safe matter."""
        return self.rules is not None and self.rules.needs_all_hazards

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels beside the cascade that the rules need; none without a policy."""
        return () if self.rules is None else tuple(self.rules.levels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heads:
    """The meaning of both levels' logits; `positive` is the index of Level 1's unsafe label.

    Without a Level 2 there are no `hazard_labels`. `hazard_thresholds` has the probability from
    which each hazard of a multi-label Level 2 holds.
    """

    level1: Activation
    positive: int
    level2: Activation = "softmax"
    hazard_labels: tuple[str, ...] = ()
    hazard_thresholds: tuple[float, ...] = ()

    def unsafe(self, level1_logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
        """Return each window's calibrated P(unsafe), shape [windows], from Level 1's logits."""
        return calibrated(level1_logits, temperature, self.level1)[:, self.positive]

    def detected(self, hazards: Mapping[str, float]) -> tuple[str, ...]:
        """Return the hazards that hold, the most probable first."""
        ranked = sorted(hazards, key=lambda hazard: -hazards[hazard])
        if self.level2 == "softmax":
            return tuple(ranked[:1])
        limits = dict(zip(self.hazard_labels, self.hazard_thresholds, strict=True))
        return tuple(hazard for hazard in ranked if hazards[hazard] >= limits[hazard])


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The result for one text; `worst_window` is the index of the most unsafe window.

    `as_written` is the P(unsafe) of the windows of the text alone, without its views. `scores` are
    the probabilities of Level 1's labels, in their order; see Verdict for the others.
    """

    unsafe: float
    as_written: float
    scores: tuple[float, ...]
    worst_window: int
    hazards: Mapping[str, float] | None
    detected: tuple[str, ...] | None
    flagged: bool
    decision: PolicyDecision | None


def threshold_terms(threshold: float) -> Terms:
    """Return terms that flag a text from this P(unsafe) on."""
    return Terms(
        opens_at=threshold,
        temperature=Temperature(),
        rules=None,
        policy=None,
        on_unknown="block",
    )


def policy_terms(policy: Policy, tenant: str | None, role: Role | None = None) -> Terms:
    """Return the terms of `policy` for a tenant's texts of a role.

    Raises:
        InputError: the policy does not name the tenant.
    """
    rules = policy.rules(tenant, role)
    return Terms(
        opens_at=rules.level1.controversial,
        temperature=rules.temperature,
        rules=rules,
        policy=PolicyIdentity(name=policy.name, digest=policy.digest, tenant=tenant),
        on_unknown=policy.unread_action([UNKNOWN_WORDS], tenant),
        on_unvouched=policy.unread_action([UNVOUCHED_LANGUAGE], tenant),
    )


def terms_of(
    threshold: float,
    policy: Policy | None,
    shadow: Policy | None,
    tenant: str | None,
    role: Role | None = None,
) -> list[Terms]:
    """Return the terms that decide and, second, those whose decision is only reported.

    Args:
        threshold: decides if there is no policy.
        policy: decides in place of the threshold.
        shadow: its decision is only reported.
        tenant: whose rules of a policy apply; None for the policy's own.
        role: who speaks in the text; None if nobody knows.

    Raises:
        InputError: no policy names the tenant.
    """
    if policy is None:
        if tenant is not None:
            raise InputError("a tenant was named, but the gate was opened without a policy")
        terms = [threshold_terms(threshold_for(role, threshold))]
        return [*terms, policy_terms(shadow, None, role)] if shadow else terms
    terms = [policy_terms(policy, tenant, role)]
    if shadow is not None:
        # A shadow that does not know the tenant yet judges it by its own rules.
        known = tenant if tenant in shadow.tenants else None
        terms.append(policy_terms(shadow, known, role))
    return terms


def windows_to_read(
    terms: Terms, level1_logits: NDArray[np.float32], heads: Heads, *, all_levels: bool
) -> list[int]:
    """Return the indices of the windows that Level 2 must read.

    Args:
        terms: the terms that judge the text.
        level1_logits: Level 1's logits, shape [windows, labels].
        heads: the meaning of the logits.
        all_levels: if Level 1 flags no window, read the most unsafe one.
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
    *,
    understood: bool = True,
    vouched: bool = True,
    n_views: int = 0,
    levels: Mapping[str, LevelResult] | None = None,
) -> Judgement:
    """Judge a text by its most unsafe window, and each hazard by its highest score.

    Levels beside the cascade count by a policy's rules alone: without a policy they change nothing.

    Args:
        terms: the terms that judge the text.
        level1_logits: Level 1's logits, shape [windows, labels].
        heads: the meaning of the logits.
        level2_logits: Level 2's logits for each of the windows to read, shape [n, hazards] each;
            may be empty.
        understood: False if the text is mostly unknown to the tokenizer, so that the terms' action
            on such texts is the least.
        vouched: False if it is in a language that the bundle does not vouch for, likewise.
        n_views: so many windows, the last ones, are of views and not of the text.
        levels: results of levels beside the cascade, at least those of `terms.level_names`; None
            is none.

    Raises:
        InferenceError: a score is not a number in [0, 1].
        RuntimeError: the caller left out hazards or levels that the terms depend on.
    """
    rows_level1 = calibrated(level1_logits, terms.temperature.level1, heads.level1)
    unsafe = rows_level1[:, heads.positive]
    worst = int(unsafe.argmax())
    scores = rows_level1.max(axis=0) if heads.level1 == "sigmoid" else rows_level1[worst]
    hazards = None
    if level2_logits:
        read = np.concatenate(list(level2_logits))
        rows = calibrated(read, terms.temperature.level2, heads.level2)
        hazards = dict(zip(heads.hazard_labels, map(float, rows.max(axis=0)), strict=True))
    # Without a Level 2, the default of the rules decides by itself.
    decided = _decide(
        terms, float(unsafe[worst]), hazards if heads.hazard_labels else {}, levels or {}
    )
    flagged = bool(unsafe[worst] >= terms.opens_at)
    least = strongest(
        ("allow" if understood else terms.on_unknown, "allow" if vouched else terms.on_unvouched)
    )
    if decided is not None:
        decided = _at_least(least, decided)
        flagged = decided.action != "allow"
    return Judgement(
        unsafe=float(unsafe[worst]),
        as_written=float(unsafe[: len(unsafe) - n_views].max()),
        scores=tuple(map(float, scores)),
        worst_window=worst,
        hazards=hazards,
        detected=None if hazards is None else heads.detected(hazards),
        flagged=flagged or least != "allow",
        decision=decided,
    )


def _at_least(action: Action, decided: PolicyDecision) -> PolicyDecision:
    """Return a decision with at least an action; beyond "allow", no text is called safe."""
    if action == "allow":
        return decided
    severity = "controversial" if decided.severity == "safe" else decided.severity
    stronger = strongest([decided.action, action])
    if stronger == decided.action:
        return replace(decided, severity=severity)
    return replace(
        decided,
        action=stronger,
        severity=severity,
        hazards=(),
        levels=(),
        masks_window=False,
        spans=(),
    )


def _decide(
    terms: Terms,
    unsafe: float,
    hazards: Mapping[str, float] | None,
    levels: Mapping[str, LevelResult],
) -> PolicyDecision | None:
    """Return the stronger of the cascade's decision and the levels'; None without a policy."""
    if terms.rules is None or terms.policy is None:
        return None
    decision: Decision = decide(terms.rules, unsafe, hazards)
    of_cascade = PolicyDecision(
        policy=terms.policy,
        action=decision.action,
        severity=decision.severity,
        hazards=decision.hazards,
        masks_window=decision.action == "mask",
    )
    asked = decide_levels(terms.rules, levels)
    decided = _at_least(strongest(asked.values()), of_cascade)
    deciding = tuple(level for level, action in asked.items() if action == decided.action)
    spans = spans_to_mask(terms.rules, levels, deciding) if decided.action == "mask" else ()
    return replace(decided, levels=deciding, spans=spans)
