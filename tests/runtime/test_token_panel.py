"""A token level beside a cascade answers like any other, with spans; policies rule by type."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hazgate import (
    BundleError,
    EngineOptions,
    Gate,
    InputError,
    Policy,
    PolicyError,
    TokenClassifier,
)
from hazgate.cli.group import cli
from hazgate.doctor import diagnose
from hazgate.judge import open_judge
from hazgate.text.reading import Reading
from tests.support.panel_bundle import PII
from tests.support.tagger import LEVEL, TYPES, write_tagged_panel, write_tagger

ENGINE = EngineOptions(threads=1)
POLICY = """schema_version = 1
name = "panel"
mode = "strict"
[gate]
controversial = 0.5
unsafe = 0.5
[hazards]
default = {{ action = "block", threshold = 0.0 }}
[levels.entities]
{rule}
"""


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagged_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))


@pytest.fixture(scope="module")
def alone(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tiny_bundle, tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def gate(bundle: Path) -> Gate:
    return Gate.open(bundle, engine=ENGINE, reading=Reading(views=()))


def _policy(rule: str) -> Policy:
    return Policy.parse(POLICY.format(rule=rule).encode())


def test_a_token_level_that_is_asked_for_gives_its_spans(gate: Gate) -> None:
    text = "so good morning, world"
    verdict = gate.check(text, levels=[LEVEL])
    result = verdict.levels[LEVEL]
    assert result.labels == TYPES
    assert result.flagged is True
    assert result.spans is not None
    assert [(s.label, text[s.start : s.end]) for s in result.spans] == [
        ("NAME", "good morning"),
        ("ADDRESS", "world"),
    ]
    assert result.scores == {s.label: s.score for s in result.spans}
    data = verdict.to_dict()["levels"][LEVEL]
    assert list(data) == ["labels", "scores", "flagged", "spans"]
    assert data["spans"][0] == {**data["spans"][0], "label": "NAME", "start": 3, "end": 15}


def test_a_text_without_a_span_has_none_and_zero_scores(gate: Gate) -> None:
    result = gate.check("other words", levels=[LEVEL]).levels[LEVEL]
    assert (result.labels, result.spans, result.flagged) == ((), (), False)
    assert result.scores == dict.fromkeys(TYPES, 0.0)


def test_levels_of_texts_have_no_spans(gate: Gate) -> None:
    verdict = gate.check("good", levels=["pii", LEVEL])
    assert verdict.levels["pii"].spans is None
    assert "spans" not in verdict.to_dict()["levels"]["pii"]
    assert set(verdict.levels["pii"].scores) == set(PII)


def test_a_token_level_runs_only_for_texts_that_ask(gate: Gate) -> None:
    rows: list[int] = []
    level = gate.token_levels[LEVEL]

    class Counting:
        def run(
            self,
            input_ids: np.ndarray,
            attention_mask: np.ndarray,
            may_leave: np.ndarray | None = None,
        ) -> np.ndarray:
            rows.append(len(input_ids))
            return level.session.run(input_ids, attention_mask, may_leave)

    counted = dataclasses.replace(
        gate, token_levels={LEVEL: dataclasses.replace(level, session=Counting())}
    )
    counted.check("good")
    assert rows == []
    counted.check("good", levels=[LEVEL])
    assert rows == [1]


def test_every_level_beside_the_cascade_is_named(gate: Gate) -> None:
    assert gate.names_beside == ("injection", "pii", "topic", LEVEL)
    with pytest.raises(InputError, match="injection, pii, topic, entities"):
        gate.check("good", levels=["spam"])


def test_a_change_of_each_level_reaches_token_levels(gate: Gate) -> None:
    changed = gate.each_level(lambda level: dataclasses.replace(level, max_batch_tokens=7))
    assert changed.token_levels[LEVEL].max_batch_tokens == 7


@given(st.lists(st.lists(st.sampled_from(["good", "world", "or"]), max_size=12), max_size=4))
def test_spans_in_a_panel_are_those_of_the_level_alone(gate: Gate, texts: list[list[str]]) -> None:
    said = [" ".join(words) for words in texts]
    verdicts = gate.check_many(said, levels=[LEVEL])
    results = gate.token_levels[LEVEL].find_many(said)
    assert [v.levels[LEVEL].spans for v in verdicts] == [r.spans for r in results]


def test_spans_are_of_the_text_as_written_where_a_disguise_is_undone(bundle: Path) -> None:
    disguised = Gate.open(bundle, engine=ENGINE)
    text = "good w\u200borld and g\u043eod"
    verdict = disguised.check(text, levels=[LEVEL])
    spans = verdict.levels[LEVEL].spans
    assert spans
    assert {text[s.start : s.end] for s in spans} == {"good"}


@pytest.mark.parametrize(
    ("rule", "text", "action"),
    [
        # Any span of any type.
        ('action = "block"', "world", "block"),
        ('action = "block"', "or", "allow"),
        # By type.
        ('action = "flag"\nlabels = ["NAME"]', "world", "allow"),
        ('action = "flag"\nlabels = ["NAME"]', "good", "flag"),
        # P(ADDRESS) of "world" is 0.55.
        ('action = "block"\nlabels = ["ADDRESS"]\nthreshold = 0.5', "world", "block"),
        ('action = "block"\nlabels = ["ADDRESS"]\nthreshold = 0.6', "world", "allow"),
        ('action = "block"\nthreshold = 0.9\nthresholds = { ADDRESS = 0.5 }', "world", "block"),
        ('action = "block"\nthreshold = 0.5\nthresholds = { ADDRESS = 0.6 }', "world", "allow"),
        ('action = "block"\nthresholds = { ADDRESS = 0.6 }', "good", "block"),
        # The greatest score of a type's spans counts.
        ('action = "block"\nthreshold = 0.9', "world world good", "block"),
    ],
)
def test_a_policy_rules_by_type_and_by_the_greatest_score(
    gate: Gate, rule: str, text: str, action: str
) -> None:
    # "world" is an injection, of which this policy says nothing.
    verdict = gate.with_policy(_policy(rule)).check(text)
    assert verdict.decision is not None
    assert verdict.decision.action == action
    assert verdict.decision.levels == ((LEVEL,) if action != "allow" else ())
    assert verdict.levels[LEVEL].spans is not None


def test_a_mask_names_the_spans_that_reach_the_threshold_by_themselves(gate: Gate) -> None:
    masking = gate.with_policy(_policy('action = "mask"\nthreshold = 0.9'))
    text = "good world and good"
    decision = masking.check(text).decision
    assert decision is not None
    assert (decision.action, decision.levels, decision.masks_window) == ("mask", (LEVEL,), False)
    assert [(s.label, s.start, s.end) for s in decision.spans] == [("NAME", 0, 4), ("NAME", 15, 19)]
    assert decision.to_dict()["masks"] == {
        "window": False,
        "spans": [span.to_dict() for span in decision.spans],
    }
    by_type = gate.with_policy(_policy('action = "mask"\nlabels = ["ADDRESS"]')).check(text)
    assert by_type.decision is not None
    assert [(s.label, s.start, s.end) for s in by_type.decision.spans] == [("ADDRESS", 5, 10)]


def test_a_stronger_action_has_nothing_to_mask(gate: Gate) -> None:
    decision = gate.with_policy(_policy('action = "mask"')).check("good morning").decision
    assert decision is not None
    assert (decision.action, decision.levels, decision.spans) == ("block", (), ())
    assert "masks" not in decision.to_dict()


def test_spans_of_a_watched_text_are_of_the_whole_text(gate: Gate) -> None:
    masking = gate.with_policy(_policy('action = "mask"'), shadow=_policy('action = "mask"'))
    watch = masking.watch(stride_tokens=2)
    words = [*["or "] * 15, "good ", *["or "] * 5]
    text = ""
    for word in words:
        text += word
        if watch.add(word):
            break
    verdict = watch.verdict
    assert verdict is not None
    assert len(text) > 45
    for decision in (verdict.decision, verdict.shadow):
        assert decision is not None
        assert decision.action == "mask"
        assert [text[s.start : s.end] for s in decision.spans] == ["good"]
    spans = verdict.levels[LEVEL].spans or ()
    assert [(s.start, s.end) for s in spans] == [(45, 49)]
    assert verdict.span.end > 45


def test_a_text_whose_rest_nobody_read_is_blocked_and_not_masked(bundle: Path) -> None:
    reading = Reading(views=(), long_texts="truncate")
    gate = Gate.open(bundle, engine=ENGINE, reading=reading, policy=_policy('action = "mask"'))
    short, long = gate.check_many(["good", "good" + " or" * 9])
    assert short.decision is not None
    assert short.decision.action == "mask"
    assert long.decision is not None
    assert (long.decision.action, long.decision.levels) == ("block", (LEVEL,))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('action = "block"\nlabels = ["PHONE"]', "entities.labels: no such label 'PHONE'"),
        ('action = "block"\nlabels = ["B-NAME"]', "entities.labels: no such label 'B-NAME'"),
    ],
)
def test_a_policy_that_names_no_type_is_refused(gate: Gate, rule: str, expected: str) -> None:
    with pytest.raises(PolicyError, match=expected):
        gate.with_policy(_policy(rule))


def test_a_host_is_checked_with_token_levels(bundle: Path) -> None:
    diagnosis = diagnose(bundle, ENGINE)
    assert any(
        check.name == f"{LEVEL} opens" and check.status == "ok" for check in diagnosis.checks
    )


def _run(*arguments: object, text: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, list(map(str, arguments)), input=text)
    return done.exit_code, done.stdout, done.stderr


def test_classify_shows_the_spans_of_a_level_beside_a_cascade(bundle: Path) -> None:
    code, out, _ = _run("classify", bundle, "good", "--levels", LEVEL)
    assert code == 0
    (span,) = json.loads(out)["levels"][LEVEL]["spans"]
    assert (span["label"], span["start"], span["end"]) == ("NAME", 0, 4)
    code, out, _ = _run("classify", bundle, "good", "--levels", "all")
    assert set(json.loads(out)["levels"]) == {"injection", "pii", "topic", LEVEL}
    code, out, _ = _run("classify", bundle, "good", "--levels", LEVEL, "--table")
    assert "entities: NAME 0.999" in out or "entities: NAME 1.000" in out


def test_classify_shows_the_spans_of_a_token_level_alone(alone: Path, tmp_path: Path) -> None:
    code, out, _ = _run("classify", alone, "good", "or")
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert first == TokenClassifier.open(alone).find("good").to_dict()
    assert second["spans"] == []
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "good world", "id": 7}\n', encoding="utf-8")
    code, out, _ = _run("classify", alone, "--file", file, "--pass-through")
    assert json.loads(out)["input"] == {"id": 7}
    code, out, _ = _run("classify", alone, "good world", "--table")
    assert "NAME good" in out
    assert "ADDRESS world" in out


def test_classify_of_one_token_level_of_several_is_named(bundle: Path) -> None:
    code, out, _ = _run("classify", bundle, "good", "--level", LEVEL)
    assert code == 0
    assert json.loads(out)["level"] == LEVEL


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--fail-on-flagged",), "leave --fail-on-flagged out"),
        (("--taxonomy", "openai"), "leave --taxonomy out"),
        (("--levels", "pii"), "leave --levels out"),
        (("--threshold", "0.4"), "leave the threshold and the policies out"),
    ],
)
def test_options_that_mean_nothing_for_a_token_level_are_named(
    alone: Path, options: tuple[str, ...], expected: str
) -> None:
    code, out, err = _run("classify", alone, "good", *options)
    assert code != 0
    assert out == ""
    assert expected in " ".join(err.split())


def test_what_judges_texts_refuses_a_token_level_alone(alone: Path) -> None:
    with pytest.raises(BundleError, match="entities of tagger is a token level"):
        open_judge(alone, engine=ENGINE)
    code, _, err = _run("serve", alone)
    assert code != 0
    assert "entities of tagger is a token level" in " ".join(err.split())


def test_info_names_the_types(bundle: Path, alone: Path) -> None:
    for path in (bundle, alone):
        code, out, _ = _run("info", path)
        assert code == 0
        assert "level    entities finds spans: NAME, ADDRESS" in out
        assert "no pooling" in out
