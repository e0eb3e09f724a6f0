"""Hazards read in other category languages, and what is lost is said."""

import json
import math
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import BundleError, InferenceError, InputError
from hazgate.judging.moderation import moderation_result
from hazgate.judging.taxonomy import (
    Taxonomy,
    load_taxonomy,
    parse_taxonomy,
    taxonomy_names,
    translate,
)
from tests.support.tiny import HAZARDS

NAMES = ("aegis2", "ailuminate", "azure", "bedrock", "llama_guard_3", "mlcommons", "openai")
SCORED = st.fixed_dictionaries(dict.fromkeys(HAZARDS, st.floats(min_value=0, max_value=1)))
NONE = dict.fromkeys(HAZARDS, 0.0)


@pytest.fixture(params=NAMES)
def taxonomy(request: pytest.FixtureRequest) -> Taxonomy:
    return load_taxonomy(request.param)


def test_the_taxonomies_are_those_that_are_promised() -> None:
    assert taxonomy_names() == NAMES


def test_every_hazard_of_the_classifier_is_mapped_or_explained(taxonomy: Taxonomy) -> None:
    assert tuple(taxonomy.hazards) == HAZARDS
    for hazard, entry in taxonomy.hazards.items():
        assert entry.matches or entry.note, hazard
        if taxonomy.lossy(hazard):
            assert entry.note, hazard


def test_no_file_gives_a_key_twice(taxonomy: Taxonomy) -> None:
    def keep(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    file = files("hazgate.judging") / "taxonomies" / f"{taxonomy.id}.json"
    json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=keep)


def test_every_category_has_a_score_in_the_order_of_the_taxonomy(taxonomy: Taxonomy) -> None:
    ids = [category.id for category in taxonomy.categories]
    assert translate(taxonomy, None) == dict.fromkeys(ids, 0.0)
    assert list(translate(taxonomy, dict.fromkeys(HAZARDS, 0.5))) == ids


def test_an_exact_match_keeps_its_hazards_score() -> None:
    scores = translate(load_taxonomy("ailuminate"), {**NONE, "S6_self_harm": 0.7})
    assert {name: score for name, score in scores.items() if score} == {"ssh": 0.7}


def test_a_hazard_of_several_categories_gives_each_its_score() -> None:
    scores = translate(load_taxonomy("llama_guard_3"), {**NONE, "S3_sex_crimes": 0.6})
    assert {name: score for name, score in scores.items() if score} == {
        "S3": 0.6,
        "S4": 0.6,
        "S12": 0.6,
    }


def test_a_category_of_several_hazards_has_the_highest_score() -> None:
    hazards = {**NONE, "S2_nonviolent_crimes": 0.3, "S5_weapons_cbrne": 0.5}
    scores = translate(load_taxonomy("openai"), hazards)
    assert scores["illicit"] == scores["illicit/violent"] == 0.5
    scores = translate(load_taxonomy("openai"), {**hazards, "S2_nonviolent_crimes": 0.6})
    assert scores["illicit"] == 0.6
    assert scores["illicit/violent"] == 0.5


def test_the_classifiers_own_names_are_categories_of_mlcommons() -> None:
    hazards = {name: index / 10 for index, name in enumerate(HAZARDS)}
    scores = translate(load_taxonomy("mlcommons"), hazards)
    assert {name: scores[name] for name in HAZARDS} == hazards
    assert len(scores) == 14


def test_sharing_a_number_is_not_a_match() -> None:
    scores = translate(load_taxonomy("llama_guard_3"), {**NONE, "S7_hate": 0.9})
    assert scores["S10"] == 0.9
    assert scores["S7"] == 0.0


def test_a_mapping_is_lossy_unless_a_category_means_exactly_the_hazard() -> None:
    openai = load_taxonomy("openai")
    assert not openai.lossy("S6_self_harm")
    assert openai.lossy("S2_nonviolent_crimes")
    assert openai.lossy("S9_privacy")


def test_a_sub_category_of_openai_never_scores_above_its_category() -> None:
    openai = load_taxonomy("openai")
    for hazard in HAZARDS:
        scores = translate(openai, {**NONE, hazard: 1.0})
        for name, score in scores.items():
            assert score <= scores[name.split("/")[0]], (hazard, name)


@given(hazards=SCORED, name=st.sampled_from(NAMES))
@settings(deadline=None)
def test_scores_stay_probabilities_and_are_those_of_hazards(
    hazards: dict[str, float], name: str
) -> None:
    scores = translate(load_taxonomy(name), hazards)
    assert set(scores.values()) <= {0.0, *hazards.values()}


@given(hazards=SCORED, name=st.sampled_from(NAMES), hazard=st.sampled_from(HAZARDS), data=st.data())
@settings(deadline=None)
def test_raising_a_hazard_never_lowers_a_category(
    hazards: dict[str, float], name: str, hazard: str, data: st.DataObject
) -> None:
    raised = data.draw(st.floats(min_value=hazards[hazard], max_value=1))
    before = translate(load_taxonomy(name), hazards)
    after = translate(load_taxonomy(name), {**hazards, hazard: raised})
    assert all(after[category] >= before[category] for category in before)


def test_every_hazard_that_a_taxonomy_does_not_know_is_named(taxonomy: Taxonomy) -> None:
    with pytest.raises(BundleError, match="does not know LABEL_0, LABEL_1; it knows S1_violent"):
        translate(taxonomy, {"LABEL_0": 0.1, "S7_hate": 0.2, "LABEL_1": 0.7})
    with pytest.raises(BundleError, match="does not know LABEL_0; it knows"):
        taxonomy.lossy("LABEL_0")


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_probability_is_not_translated(taxonomy: Taxonomy, score: float) -> None:
    with pytest.raises(InferenceError, match="S7_hate = "):
        translate(taxonomy, {"S7_hate": score})


@pytest.mark.parametrize(
    "name", ["perspective", "", "../taxonomies/openai", "openai.json", "OpenAI"]
)
def test_an_unknown_taxonomy_is_an_input_error_that_names_the_others(name: str) -> None:
    with pytest.raises(InputError, match="there are aegis2, ailuminate, azure, bedrock, llama_"):
        load_taxonomy(name)


def _small() -> dict[str, Any]:
    return {
        "id": "small",
        "title": "Small",
        "source": "this test",
        "categories": [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}],
        "hazards": {
            "x": {"matches": [{"category": "a", "relation": "exact"}]},
            "y": {"matches": [], "note": "nothing like it"},
        },
    }


def _change(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data = _small()
    change(data)
    return data


EXACT = {"category": "a", "relation": "exact"}
WRONG = {
    "no source": (
        _change(lambda data: data.update(source="")),
        "$.source: must not be empty",
    ),
    "unknown relation": (
        _change(lambda data: data["hazards"]["x"]["matches"][0].update(relation="near")),
        "$.hazards.x.matches[0].relation: expected one of",
    ),
    "unknown category": (
        _change(lambda data: data["hazards"]["x"]["matches"][0].update(category="c")),
        "$.hazards.x: no category 'c'",
    ),
    "category twice": (
        _change(lambda data: data["categories"].append({"id": "a", "title": "C"})),
        "$.categories: 'a' is listed twice",
    ),
    "match twice": (
        _change(
            lambda data: data["hazards"]["x"]["matches"].append({**EXACT, "relation": "partial"})
        ),
        "$.hazards.x: 'a' is matched twice",
    ),
    "two hazards exactly one category": (
        _change(lambda data: data["hazards"]["y"]["matches"].append(EXACT)),
        "$.hazards.y: 'a' cannot be exactly this and exactly x",
    ),
    "no match and no reason": (
        _change(lambda data: data["hazards"]["y"].pop("note")),
        "$.hazards.y.note: must say why no category matches",
    ),
    "unknown field": (
        _change(lambda data: data.update(version=1)),
        "$.version: unknown field",
    ),
    "missing field": (_change(lambda data: data.pop("hazards")), "$.hazards: missing"),
}


def test_a_small_taxonomy_is_valid_before_it_is_spoilt() -> None:
    assert parse_taxonomy(json.dumps(_small()).encode()).id == "small"


@pytest.mark.parametrize(("data", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_taxonomy_is_refused_by_the_field(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse_taxonomy(json.dumps(data).encode())
    assert f"  - {problem}" in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000])
def test_text_that_is_not_json_is_refused_as_a_taxonomy(text: bytes) -> None:
    with pytest.raises(BundleError, match="not a JSON document"):
        parse_taxonomy(text)


def test_a_moderation_result_has_the_categories_that_reach_the_threshold() -> None:
    result = moderation_result(flagged=True, hazards={**NONE, "S6_self_harm": 0.5}, threshold=0.5)
    assert result["flagged"] is True
    assert list(result) == ["flagged", "categories", "category_scores"]
    assert list(result["categories"]) == list(result["category_scores"])
    assert [name for name, is_set in result["categories"].items() if is_set] == [
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
    ]
    assert result["category_scores"]["self-harm"] == 0.5
    assert json.loads(json.dumps(result)) == result


def test_a_text_that_is_not_flagged_has_no_category_whatever_its_scores() -> None:
    result = moderation_result(flagged=False, hazards={**NONE, "S7_hate": 1.0}, threshold=0.1)
    assert result["flagged"] is False
    assert not any(result["categories"].values())
    assert result["category_scores"]["hate"] == 1.0


def test_a_flagged_text_of_a_hazard_that_openai_does_not_name_has_no_category() -> None:
    result = moderation_result(flagged=True, hazards={**NONE, "S9_privacy": 1.0}, threshold=0.5)
    assert result["flagged"] is True
    assert not any(result["categories"].values())


def test_a_moderation_result_without_hazards_has_only_zeros() -> None:
    result = moderation_result(flagged=False, hazards=None, threshold=0.5)
    assert set(result["category_scores"].values()) == {0.0}


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1, math.nan])
def test_a_moderation_threshold_is_above_zero_and_at_most_one(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold must be above 0 and up to 1"):
        moderation_result(flagged=True, hazards=None, threshold=threshold)
