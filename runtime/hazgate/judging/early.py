"""The terms under which a text may leave Level 1 early. Pure.

What leaves is covered by a claim about thresholds that were tested, each by itself. A text may
leave only if every threshold that its P(unsafe) is compared with is one of them, and if nothing
else is read of a text that Level 1 finds safe.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from hazgate.judging.judgement import Terms, terms_of
from hazgate.judging.policy import Policy
from hazgate.judging.scores import log_odds
from hazgate.judging.speech import Role

# Thresholds that differ by less are the same: they come from decimal numbers in two files.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """Rules whose texts may leave early, among all of a gate.

    Attributes:
        n_rules: rules by tenant, role and side.
        n_leaving: those whose texts may leave.
        missing: thresholds of the others that no claim covers, ascending; of a threshold and a
            temperature, P(unsafe) at temperature 1.
    """

    n_rules: int
    n_leaving: int
    missing: tuple[float, ...]


def uncalibrated(terms: Terms, calibrated: Collection[float]) -> tuple[float, ...]:
    """Return P(unsafe) at temperature 1 of some terms' thresholds that no claim covers, ascending.

    Args:
        terms: the terms.
        calibrated: P(unsafe) at temperature 1 for which the claim was tested.
    """
    thresholds = [terms.opens_at]
    if terms.rules is not None:
        thresholds += [terms.rules.level1.controversial, terms.rules.level1.unsafe]
    at_1 = {_uncalibrated_probability(each, terms.temperature.level1) for each in thresholds}
    return tuple(sorted(p for p in at_1 if not any(abs(p - q) <= _TOLERANCE for q in calibrated)))


def flags_from(terms: Sequence[Terms], calibrated: Collection[float]) -> float | None:
    """Return the log-odds from which Level 1 flags a text, if the text may leave early.

    None if it must be read whole: nothing judges it, or one of the terms has a threshold that was
    not calibrated or reads Level 2 on every window. The first terms decide, and theirs is the
    number; the others only report, and must be covered all the same.

    Args:
        terms: all that judge the text, the ones that decide first.
        calibrated: as of `uncalibrated`.
    """
    if not terms or any(one.reads_every_window or uncalibrated(one, calibrated) for one in terms):
        return None
    # Covered thresholds are between 0 and 1, as those of the claim are.
    return terms[0].temperature.level1 * log_odds(terms[0].opens_at)


def every_terms(
    threshold: float, policies: Sequence[Policy | None], shadow: Policy | None
) -> list[list[Terms]]:
    """Return the terms that judge a text, of each tenant and role.

    Args:
        threshold: decides where there is no policy.
        policies: of requests and of responses; None stands for the threshold.
        shadow: its decision is only reported.
    """
    roles: tuple[Role | None, ...] = (None, *get_args(Role))
    return [
        terms_of(threshold, policy, shadow, tenant, role)
        for policy in policies
        for tenant in (None, *(() if policy is None else policy.tenants))
        for role in roles
    ]


def coverage_of(rules: Iterable[Sequence[Terms]], calibrated: Collection[float]) -> Coverage:
    """Return which rules let texts leave early.

    Args:
        rules: the terms that judge a text, of each tenant, role and side.
        calibrated: as of `uncalibrated`.
    """
    every = list(rules)
    missing = {p for terms in every for one in terms for p in uncalibrated(one, calibrated)}
    return Coverage(
        n_rules=len(every),
        n_leaving=sum(flags_from(terms, calibrated) is not None for terms in every),
        missing=tuple(sorted(missing)),
    )


def _uncalibrated_probability(threshold: float, temperature: float) -> float:
    """Return the P(unsafe) at temperature 1 whose calibrated value is a threshold.

    Of two labels under softmax, the calibrated one is the sigmoid of the log-odds divided by the
    temperature. Of a threshold that is no probability between 0 and 1, it is the threshold itself.
    """
    if not 0 < threshold < 1:
        return threshold
    # The sigmoid, without overflow.
    return (1 + math.tanh(temperature * log_odds(threshold) / 2)) / 2
