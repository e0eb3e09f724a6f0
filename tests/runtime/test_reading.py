"""A text is read whole, whatever its length; what is not read is refused or said."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import BundleError, Gate, InputError, Reading, Span
from hazgate.engine.options import EngineOptions
from tests.support.damage import replace_graph
from tests.support.graphs import spotting_graph
from tests.support.spotter import MORNING_HAZARD, OVERLAP, ROOM, WORLD_HAZARD
from tests.support.tiny import HAZARDS
from tests.support.tokenizers import GOOD, MORNING, WORDS, WORLD


@given(n_words=st.integers(min_value=1, max_value=300), at=st.floats(min_value=0, max_value=1))
@settings(deadline=None, max_examples=60)
def test_one_word_anywhere_is_found_and_its_window_is_named(
    spotting: Gate, n_words: int, at: float
) -> None:
    words = ["good"] * n_words
    position = min(int(at * n_words), n_words - 1)
    words[position] = "morning"
    text = " ".join(words)

    verdict = spotting.check(text)

    assert verdict.flagged
    assert verdict.hazard == HAZARDS[MORNING_HAZARD]
    assert (verdict.tokens.total, verdict.tokens.read) == (n_words, n_words)
    assert verdict.tokens.windows == max(1, -(-(n_words - OVERLAP) // (ROOM - OVERLAP)))
    assert not verdict.truncated
    assert "morning" in text[verdict.span.start : verdict.span.end]
    assert len(text[verdict.span.start : verdict.span.end].split()) <= ROOM


def test_harmless_words_stay_harmless_in_any_number(spotting: Gate) -> None:
    assert not spotting.check("good " * 1000).flagged


def test_each_hazard_has_its_highest_probability_over_opened_windows(
    spotting: Gate,
) -> None:
    verdict = spotting.check("morning " + "good " * 40 + "world")
    assert verdict.hazards is not None
    alone = spotting.check("morning").hazards
    assert alone is not None
    for index in (MORNING_HAZARD, WORLD_HAZARD):
        assert verdict.hazards[HAZARDS[index]] == alone[HAZARDS[MORNING_HAZARD]]


def test_a_window_that_stayed_shut_has_no_say_in_the_hazards(spotter: Path, tmp_path: Path) -> None:
    import shutil

    bundle = Path(shutil.copytree(spotter, tmp_path / "bundle"))
    shut = [[9.0, -9.0]] * len(WORDS)
    shut[MORNING] = [9.0, 12.0]
    replace_graph(bundle, "level1", spotting_graph(shut))
    verdict = Gate.open(bundle, engine=EngineOptions(threads=1)).check(
        "morning " + "good " * 40 + "world"
    )
    assert verdict.hazards is not None
    assert verdict.hazards[HAZARDS[WORLD_HAZARD]] < 0.1


def test_long_texts_get_the_answers_beside_others_that_they_get_alone(spotting: Gate) -> None:
    texts = ["good " * n + end for n in (0, 3, 17, 100) for end in ("", "morning", "world")]
    assert spotting.check_many(texts) == [spotting.check(text) for text in texts]


def test_truncating_reads_the_first_window_and_says_so(spotter: Path) -> None:
    gate = Gate.open(
        spotter, engine=EngineOptions(threads=1), reading=Reading(long_texts="truncate")
    )
    verdict = gate.check("good " * ROOM + "morning")
    assert not verdict.flagged
    assert verdict.truncated
    assert (verdict.tokens.total, verdict.tokens.read, verdict.tokens.windows) == (
        ROOM + 1,
        ROOM,
        1,
    )
    assert verdict.span == Span(start=0, end=len("good " * ROOM) - 1)
    assert not gate.check("good " * ROOM).truncated


def test_rejecting_refuses_what_does_not_fit_into_one_window(spotter: Path) -> None:
    gate = Gate.open(spotter, engine=EngineOptions(threads=1), reading=Reading(long_texts="reject"))
    assert gate.check("good " * ROOM).tokens.windows == 1
    with pytest.raises(InputError, match=f"text 1: {ROOM + 1} tokens, at most {ROOM} fit"):
        gate.check_many(["good", "good " * (ROOM + 1)])


def test_more_tokens_than_are_to_be_read_are_refused(spotter: Path) -> None:
    gate = Gate.open(spotter, engine=EngineOptions(threads=1), reading=Reading(max_text_tokens=20))
    assert gate.check("good " * 20).tokens.read == 20
    with pytest.raises(InputError, match="text 0: 21 tokens, at most 20 are read"):
        gate.check("good " * 21)


def test_a_classifier_refuses_a_text_of_several_windows(spotting: Gate) -> None:
    with pytest.raises(InputError, match=r"text 0: .* fit into one window"):
        spotting.level1.logits(["good " * (ROOM + 1)])


def test_a_caller_may_ask_for_other_windows_that_were_proven(spotter: Path) -> None:
    text = "good " * 30
    wide = Gate.open(spotter, engine=EngineOptions(threads=1), reading=Reading(window_tokens=64))
    assert wide.check(text).tokens.windows == 1


@pytest.mark.parametrize("window_tokens", [OVERLAP, 65, 0, -1])
def test_windows_that_were_not_proven_are_refused(spotter: Path, window_tokens: int) -> None:
    with pytest.raises(BundleError, match=rf"window_tokens must be .*, got {window_tokens}"):
        Gate.open(
            spotter, engine=EngineOptions(threads=1), reading=Reading(window_tokens=window_tokens)
        )


def test_the_words_of_the_tests_are_what_they_seem(spotting: Gate) -> None:
    (tokens,) = spotting.level1.tokenizer.encode(["good morning world"])
    assert tokens.windows[0].input_ids[1:-1] == (GOOD, MORNING, WORLD)
