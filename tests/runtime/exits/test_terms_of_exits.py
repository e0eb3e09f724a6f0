"""A text may leave early only under thresholds that were tested. Pure."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hazgate.judging.decision import HazardRule, Level1Thresholds, Rules, Temperature
from hazgate.judging.early import coverage_of, flags_from, uncalibrated
from hazgate.judging.judgement import Heads, Terms, threshold_terms
from hazgate.judging.scores import log_odds

PROBABILITY = st.floats(0.001, 0.999)
CALIBRATED = (0.1, 0.3, 0.5, 0.7, 0.9)
KNOWN = st.sampled_from(CALIBRATED)
TEMPERATURE = st.floats(0.2, 5.0)


def _calibrated(threshold: float, temperature: float) -> float:
    """The calibrated P(unsafe) of a text whose P(unsafe) at temperature 1 is `threshold`."""
    return 1 / (1 + math.exp(-log_odds(threshold) / temperature))


def _terms(controversial: float, unsafe: float, temperature: float) -> Terms:
    low, high = sorted((_calibrated(controversial, temperature), _calibrated(unsafe, temperature)))
    rules = Rules(
        mode="strict",
        temperature=Temperature(level1=temperature),
        level1=Level1Thresholds(controversial=low, unsafe=high),
        default=HazardRule(action="block", threshold=0.0),
        hazards={},
    )
    return Terms(
        opens_at=low,
        temperature=rules.temperature,
        rules=rules,
        policy=None,
        on_unknown="block",
    )


def _spoilt(terms: Terms, field: str, value: float) -> Terms:
    assert terms.rules is not None
    if field == "opens_at":
        return replace(terms, opens_at=value)
    level1 = replace(terms.rules.level1, **{field: value})
    return replace(terms, rules=replace(terms.rules, level1=level1))


@given(st.lists(st.tuples(KNOWN, KNOWN, TEMPERATURE), min_size=1, max_size=3))
def test_a_text_under_calibrated_thresholds_may_leave(
    given_: list[tuple[float, float, float]],
) -> None:
    terms = [_terms(*each) for each in given_]
    assert flags_from(terms, CALIBRATED) is not None
    assert coverage_of([terms], CALIBRATED).missing == ()


@given(
    st.lists(st.tuples(KNOWN, KNOWN, TEMPERATURE), min_size=1, max_size=3),
    st.data(),
    st.sampled_from(["opens_at", "controversial", "unsafe"]),
    st.one_of(PROBABILITY, st.sampled_from([0.0, 1.0])),
)
def test_one_threshold_of_one_of_the_terms_that_was_not_calibrated_has_it_read_whole(
    given_: list[tuple[float, float, float]], data: st.DataObject, field: str, value: float
) -> None:
    terms = [_terms(*each) for each in given_]
    i = data.draw(st.integers(0, len(terms) - 1))
    terms[i] = _spoilt(terms[i], field, value)
    missing = uncalibrated(terms[i], CALIBRATED)
    if missing:
        assert flags_from(terms, CALIBRATED) is None
        assert coverage_of([terms], CALIBRATED).n_leaving == 0
    else:
        temperature = terms[i].temperature.level1
        at_1 = 1 / (1 + math.exp(-temperature * log_odds(value)))
        assert any(abs(at_1 - each) < 1e-5 for each in CALIBRATED)


@given(PROBABILITY)
def test_without_a_claim_nothing_leaves(threshold: float) -> None:
    assert flags_from([threshold_terms(threshold)], ()) is None
    assert flags_from([], CALIBRATED) is None


@given(KNOWN, KNOWN, TEMPERATURE)
def test_a_text_whose_every_window_level_2_reads_is_read_whole(
    controversial: float, unsafe: float, temperature: float
) -> None:
    terms = _terms(controversial, unsafe, temperature)
    assert terms.rules is not None
    always = {"hate": HazardRule(action="block", threshold=0.5, always=0.9)}
    reads_all = replace(terms, rules=replace(terms.rules, hazards=always))
    assert flags_from([terms], CALIBRATED) is not None
    assert flags_from([reads_all], CALIBRATED) is None
    assert flags_from([terms, reads_all], CALIBRATED) is None


@given(KNOWN, TEMPERATURE, st.floats(-20, 20))
def test_the_log_odds_returned_are_those_from_which_the_text_is_flagged(
    threshold: float, temperature: float, odds: float
) -> None:
    import numpy as np

    terms = _terms(threshold, threshold, temperature)
    from_ = flags_from([terms], CALIBRATED)
    assert from_ is not None
    if abs(odds - from_) < 1e-6:
        return
    logits = np.array([[0.0, odds]], dtype=np.float64)
    unsafe = Heads(level1="softmax", positive=1).unsafe(logits, temperature)  # type: ignore[arg-type]
    assert (unsafe[0] >= terms.opens_at) == (odds >= from_)
