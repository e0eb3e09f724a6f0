"""A decision follows from a text's scores and the rules, and from nothing else."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import InferenceError
from hazgate.judging.decision import (
    Action,
    Decision,
    HazardRule,
    Level1Thresholds,
    Mode,
    Rules,
    Temperature,
    decide,
)

STRENGTH: dict[Action, int] = {"allow": 0, "flag": 1, "block": 2}
HATE, ADVICE, HARM = "S7_hate", "S8_specialized_advice", "S6_self_harm"


def _rules(
    hazards: Mapping[str, HazardRule] | None = None,
    *,
    mode: Mode = "loose",
    default: HazardRule | None = None,
) -> Rules:
    return Rules(
        mode=mode,
        temperature=Temperature(),
        level1=Level1Thresholds(controversial=0.4, unsafe=0.6),
        default=default or HazardRule(action="block", threshold=0.5),
        hazards=hazards or {},
    )


def _rule(action: Action, threshold: float, always: float | None = None) -> HazardRule:
    return HazardRule(action=action, threshold=threshold, always=always)


SCORES = {HATE: 0.7, ADVICE: 0.2, HARM: 0.1}


@pytest.mark.parametrize(
    ("unsafe", "severity"),
    [
        (0.0, "safe"),
        (math.nextafter(0.4, 0), "safe"),
        (0.4, "controversial"),
        (math.nextafter(0.6, 0), "controversial"),
        (0.6, "unsafe"),
        (1.0, "unsafe"),
    ],
)
@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_a_threshold_belongs_to_the_graver_side(mode: Mode, unsafe: float, severity: str) -> None:
    decision = decide(_rules(mode=mode), unsafe, SCORES)
    assert decision.severity == severity
    counts = severity == "unsafe" or (severity == "controversial" and mode == "strict")
    assert decision.action == ("block" if counts else "allow")
    assert decision.hazards == ((HATE,) if counts else ())


def test_a_text_that_does_not_count_as_unsafe_needs_no_hazards() -> None:
    assert decide(_rules(), 0.5, None) == Decision(
        action="allow", severity="controversial", hazards=()
    )


def test_a_hazard_at_its_threshold_contributes_and_below_it_does_not() -> None:
    rules = _rules({HATE: _rule("flag", 0.7)}, default=_rule("allow", 1))
    assert decide(rules, 0.9, SCORES).action == "flag"
    assert decide(rules, 0.9, {**SCORES, HATE: math.nextafter(0.7, 0)}).action == "allow"


@pytest.mark.parametrize("action", ["allow", "flag", "block"])
def test_where_no_hazard_reaches_its_threshold_the_default_decides(action: Action) -> None:
    decision = decide(_rules(default=_rule(action, 0.9)), 0.9, SCORES)
    assert decision == Decision(action=action, severity="unsafe", hazards=())


def test_a_hazard_without_a_rule_follows_the_default() -> None:
    rules = _rules({HATE: _rule("allow", 0)}, default=_rule("flag", 0.2))
    assert decide(rules, 0.9, SCORES).hazards == (ADVICE,)


def test_the_strongest_action_wins_and_names_only_the_hazards_that_asked_for_it() -> None:
    rules = _rules({HATE: _rule("allow", 0), ADVICE: _rule("flag", 0), HARM: _rule("block", 0)})
    assert decide(rules, 0.9, SCORES) == Decision(
        action="block", severity="unsafe", hazards=(HARM,)
    )


def test_hazards_that_decided_are_named_from_the_highest_score_down() -> None:
    rules = _rules(default=_rule("flag", 0))
    assert decide(rules, 0.9, {ADVICE: 0.2, HATE: 0.7, HARM: 0.1}).hazards == (HATE, ADVICE, HARM)


def test_a_named_hazard_can_be_let_through() -> None:
    rules = _rules({ADVICE: _rule("allow", 0.3)})
    decision = decide(rules, 0.9, {HATE: 0.1, ADVICE: 0.85, HARM: 0.05})
    assert decision == Decision(action="allow", severity="unsafe", hazards=(ADVICE,))


def test_a_default_threshold_of_zero_leaves_the_weaker_actions_without_effect() -> None:
    # What POLICIES.md warns of: a hazard that is not named always reaches zero.
    rules = _rules({ADVICE: _rule("allow", 0.3)}, default=_rule("block", 0))
    assert decide(rules, 0.9, {HATE: 0.0, ADVICE: 1.0, HARM: 0.0}).action == "block"


def test_always_blocks_whatever_the_gate_said() -> None:
    rules = _rules({HARM: _rule("allow", 0.5, always=0.9)})
    blocked = Decision(action="block", severity="safe", hazards=(HARM,))
    assert decide(rules, 0.0, {**SCORES, HARM: 0.9}) == blocked
    assert decide(rules, 0.0, {**SCORES, HARM: 0.89}).action == "allow"


def test_below_always_a_hazard_keeps_its_own_action() -> None:
    rules = _rules({HARM: _rule("flag", 0.5, always=0.9)}, default=_rule("allow", 1))
    assert decide(rules, 0.9, {HARM: 0.6}) == Decision(
        action="flag", severity="unsafe", hazards=(HARM,)
    )


def test_an_unsafe_text_without_hazards_is_the_callers_error() -> None:
    with pytest.raises(RuntimeError, match="cannot be decided without its hazards"):
        decide(_rules(), 0.6, None)
    with pytest.raises(RuntimeError, match="cannot be decided without its hazards"):
        decide(_rules(mode="strict"), 0.4, None)


def test_rules_with_always_refuse_to_decide_without_hazards_even_a_safe_text() -> None:
    with pytest.raises(RuntimeError, match=r"every text if rules\.needs_all_hazards"):
        decide(_rules({HARM: _rule("block", 0.5, always=0.9)}), 0.0, None)


def test_a_hazard_that_the_rules_name_may_not_be_left_out() -> None:
    rules = _rules({HARM: _rule("block", 0.5), ADVICE: _rule("flag", 0.5)})
    with pytest.raises(RuntimeError, match=r"no score of S6_self_harm, S8_spec.*check_labels"):
        decide(rules, 0.9, {HATE: 0.9})


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, -0.001, 1.001])
def test_a_score_that_is_no_probability_never_becomes_a_decision(score: float) -> None:
    with pytest.raises(InferenceError, match=r"between 0 and 1, got P\(unsafe\) = "):
        decide(_rules(), score, None)
    with pytest.raises(InferenceError, match="got S7_hate = "):
        decide(_rules(), 0.0, {**SCORES, HATE: score})


NAMES = (HATE, ADVICE, HARM, "S9_privacy")
PROBABILITY = st.floats(min_value=0, max_value=1)
RULE = st.builds(
    HazardRule,
    action=st.sampled_from(("allow", "flag", "block")),
    threshold=PROBABILITY,
    always=st.none() | PROBABILITY,
)
RULES = st.builds(
    Rules,
    mode=st.sampled_from(("strict", "loose")),
    temperature=st.just(Temperature()),
    level1=st.tuples(PROBABILITY, PROBABILITY).map(
        lambda pair: Level1Thresholds(controversial=min(pair), unsafe=max(pair))
    ),
    default=st.builds(
        HazardRule, action=st.sampled_from(("allow", "flag", "block")), threshold=PROBABILITY
    ),
    hazards=st.dictionaries(st.sampled_from(NAMES), RULE),
)
SCORED = st.fixed_dictionaries(dict.fromkeys(NAMES, PROBABILITY))


@given(rules=RULES, unsafe=PROBABILITY, hazards=SCORED)
@settings(deadline=None)
def test_a_decision_agrees_with_the_rule_of_every_hazard(
    rules: Rules, unsafe: float, hazards: dict[str, float]
) -> None:
    decision = decide(rules, unsafe, hazards)
    counts = unsafe >= (
        rules.level1.controversial if rules.mode == "strict" else rules.level1.unsafe
    )
    asked: set[tuple[str, Action]] = set()
    for name in NAMES:
        rule = rules.hazards.get(name, rules.default)
        if counts and hazards[name] >= rule.threshold:
            asked.add((name, rule.action))
        if rule.always is not None and hazards[name] >= rule.always:
            asked.add((name, "block"))
    if asked:
        strongest = max((action for _, action in asked), key=STRENGTH.__getitem__)
        assert decision.action == strongest
        assert {(name, strongest) for name in decision.hazards} == {
            pair for pair in asked if pair[1] == strongest
        }
    else:
        assert decision.hazards == ()
        assert decision.action == (rules.default.action if counts else "allow")


@given(rules=RULES, unsafe=PROBABILITY, hazards=SCORED)
@settings(deadline=None)
def test_strict_never_decides_more_loosely_than_loose(
    rules: Rules, unsafe: float, hazards: dict[str, float]
) -> None:
    loose, strict = (
        decide(
            Rules(
                mode=mode,
                temperature=rules.temperature,
                level1=rules.level1,
                default=rules.default,
                hazards=rules.hazards,
            ),
            unsafe,
            hazards,
        )
        for mode in ("loose", "strict")
    )
    assert STRENGTH[strict.action] >= STRENGTH[loose.action]


@given(rules=RULES, low=PROBABILITY, high=PROBABILITY, hazards=SCORED)
@settings(deadline=None)
def test_a_higher_p_unsafe_never_loosens_the_action(
    rules: Rules, low: float, high: float, hazards: dict[str, float]
) -> None:
    low, high = sorted((low, high))
    lower, higher = decide(rules, low, hazards), decide(rules, high, hazards)
    assert STRENGTH[higher.action] >= STRENGTH[lower.action]
