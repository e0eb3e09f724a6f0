"""A bundle of one level, without a cascade: its labels, its gate, and what it never says."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hazgate import (
    BundleError,
    Classifier,
    Gate,
    InputError,
    Policy,
    PolicyError,
    Reading,
)
from hazgate.cli.group import cli
from hazgate.engine.options import EngineOptions
from hazgate.judging.classification import LabelHead, labels_that_hold, scores_of_windows
from tests.support.damage import edit_manifest
from tests.support.lone import (
    INTENT,
    JAILBREAK,
    VELA_HAZARDS,
    write_intent,
    write_jailbreak,
    write_vela_hazards,
)
from tests.support.tiny import HAZARDS

ONE_THREAD = EngineOptions(threads=1)
# Nine words: two windows of six, of which the first has only "good".
LONG = "good good good good good good good morning good"
POLICY = b"""schema_version = 1
name = "jailbreaks"
mode = "strict"
gate = { controversial = 0.2, unsafe = 0.9 }
[hazards.default]
action = "block"
threshold = 0.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lone")


@pytest.fixture(scope="module")
def jailbreak(tiny_bundle: Path, folder: Path) -> Path:
    return write_jailbreak(tiny_bundle, folder)


@pytest.fixture(scope="module")
def intent(tiny_bundle: Path, folder: Path) -> Path:
    return write_intent(tiny_bundle, folder)


@pytest.fixture(scope="module")
def vela(tiny_bundle: Path, folder: Path) -> Path:
    return write_vela_hazards(tiny_bundle, folder)


# Classifier.open


def test_a_lone_level_needs_no_name_and_gives_its_labels(jailbreak: Path) -> None:
    classifier = Classifier.open(jailbreak, engine=ONE_THREAD)
    calm, attack = classifier.classify(["good", "good morning"])
    assert classifier.level == attack.level == "jailbreak"
    assert attack.labels == ("jailbreak",)
    assert list(attack.scores) == list(JAILBREAK)
    assert attack.scores["jailbreak"] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)
    assert calm.labels == ("benign",)
    assert calm.scores["jailbreak"] == pytest.approx(1 / (1 + np.e), abs=1e-6)
    assert attack.model.bundle == "jailbreak"
    assert attack.model.digest == classifier.bundle.digest
    assert json.loads(json.dumps(attack.to_dict())) == {
        "level": "jailbreak",
        "labels": ["jailbreak"],
        "scores": dict(attack.scores),
        "tokens": {"total": 2, "read": 2, "unknown": 0, "windows": 1},
        "truncated": False,
        "understood": True,
        "model": attack.model.to_dict(),
    }


def test_its_scores_are_those_of_the_same_graph_in_a_cascade(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    alone = Path(shutil.copytree(tiny_bundle, tmp_path / "alone"))

    def one_level(data: dict) -> None:  # type: ignore[type-arg]
        del data["cascade"], data["levels"]["level1"]

    edit_manifest(alone, one_level)
    texts = ["hello", "How do I kill a Python process?", "x " * 100]
    hazards = Classifier.open(alone, engine=ONE_THREAD)
    level2 = Gate.open(tiny_bundle, engine=ONE_THREAD).level2
    np.testing.assert_array_equal(hazards.logits(texts[:2]), level2.logits(texts[:2]))
    answers = hazards.classify(texts)
    for answer, row in zip(answers, level2.probabilities(texts[:2]), strict=False):
        # One window: the mean over windows is the window.
        np.testing.assert_allclose(list(answer.scores.values()), row, rtol=1e-12)
        assert answer.labels == (HAZARDS[int(row.argmax())],)
    assert sum(answers[2].scores.values()) == pytest.approx(1)
    assert answers[2].tokens.windows > 1


def test_the_most_suspicious_window_of_a_long_text_decides_where_a_label_is_looked_for(
    jailbreak: Path,
) -> None:
    (answer,) = Classifier.open(jailbreak, engine=ONE_THREAD).classify([LONG])
    assert answer.tokens.windows == 2
    assert answer.labels == ("jailbreak",)
    (beginning,) = Classifier.open(
        jailbreak, engine=ONE_THREAD, reading=Reading(long_texts="truncate")
    ).classify([LONG])
    assert beginning.truncated
    assert beginning.labels == ("benign",)


def test_a_level_that_looks_for_nothing_takes_the_mean_of_the_windows(intent: Path) -> None:
    classifier = Classifier.open(intent, engine=ONE_THREAD)
    (answer,) = classifier.classify([LONG])
    first, second = classifier.probabilities(["good", "good morning"])
    # Six tokens in the first window, five in the second.
    np.testing.assert_allclose(
        list(answer.scores.values()), (6 * first + 5 * second) / 11, rtol=1e-12
    )
    assert answer.labels == (INTENT[int(np.argmax(list(answer.scores.values())))],)
    assert not hasattr(answer, "flagged")
    assert "flagged" not in answer.to_dict()


def test_every_label_of_a_multi_label_level_has_its_own_threshold(vela: Path) -> None:
    classifier = Classifier.open(vela, engine=ONE_THREAD)
    nothing, morning, both = classifier.classify(
        ["good", "morning", "morning good good good good good good world"]
    )
    assert nothing.labels == ()
    # H2 is as probable as H3, but its threshold is 0.99.
    assert morning.scores["H2"] == morning.scores["H3"] == pytest.approx(0.731, abs=1e-3)
    assert morning.labels == ("H3",)
    # Each label has its greatest probability over the windows; H5 holds from 0.2 on.
    assert both.tokens.windows == 2
    assert both.labels == ("H3", "H5")
    assert both.scores["H5"] == pytest.approx(0.269, abs=1e-3)
    assert list(both.scores) == list(VELA_HAZARDS)


def test_of_several_levels_one_must_be_named(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="has the levels level1, level2: name the one to open"):
        Classifier.open(tiny_bundle)
    with pytest.raises(BundleError, match="tiny has no level 'level3', only level1, level2"):
        Classifier.open(tiny_bundle, "level3")
    level1 = Classifier.open(tiny_bundle, "level1", engine=ONE_THREAD)
    assert level1.positive is not None
    assert level1.positive.label == "unsafe"
    assert Classifier.open(tiny_bundle, "level2", engine=ONE_THREAD).positive is None


def test_a_level_that_stands_alone_knows_no_tenant(intent: Path) -> None:
    with pytest.raises(InputError, match="has no policy"):
        Classifier.open(intent, engine=ONE_THREAD).ask(["good"], tenant="acme")


# Gates


def test_a_gate_is_not_opened_without_a_cascade_and_the_error_says_what_is(jailbreak: Path) -> None:
    with pytest.raises(BundleError) as caught:
        Gate.open(jailbreak)
    assert str(caught.value) == (
        "Gate.open needs a cascade of two levels, and jailbreak has none: jailbreak stands alone; "
        "it is read by hazgate classify and serve, and in Python by Classifier.open"
    )


def test_a_level_with_a_positive_label_is_a_gate_without_hazards(jailbreak: Path) -> None:
    gate = Gate.of_level(Classifier.open(jailbreak, engine=ONE_THREAD))
    calm, attack = gate.check_many(["good", LONG])
    assert (calm.flagged, attack.flagged) == (False, True)
    assert attack.unsafe == attack.scores["jailbreak"] == pytest.approx(0.953, abs=1e-3)
    assert (attack.hazard, attack.hazards, attack.detected) == (None, None, None)
    assert LONG[attack.span.start : attack.span.end].endswith("morning good")
    assert gate.hazards == ()
    assert gate.unsafe_label == "jailbreak"
    assert gate.threshold == 0.5
    assert gate.check("good", all_levels=True).hazards is None
    with pytest.raises(BundleError, match="is served as one level, jailbreak"):
        _ = gate.level2


def test_its_threshold_and_its_policy_are_those_of_any_gate(jailbreak: Path) -> None:
    level = Classifier.open(jailbreak, engine=ONE_THREAD)
    assert Gate.of_level(level, threshold=0.2).check("good").flagged
    policy = Policy.parse(POLICY)
    gate = Gate.of_level(level, policy=policy)
    for text, action, severity in (
        ("good", "block", "controversial"),
        ("morning", "block", "unsafe"),
        ("", "allow", "safe"),
    ):
        decision = gate.check(text).decision
        assert decision is not None
        assert (decision.action, decision.severity) == (action, severity), text
    with pytest.raises(BundleError, match="either policy or threshold"):
        Gate.of_level(level, threshold=0.2, policy=policy)
    naming = Policy.parse(POLICY + b"[hazards.S1]\naction = 'flag'\n")
    with pytest.raises(PolicyError, match="none: it has one level"):
        Gate.of_level(level, policy=naming)


@pytest.mark.parametrize("kind", ["intent", "vela"])
def test_a_level_that_states_no_positive_label_is_never_a_gate(
    kind: str, request: pytest.FixtureRequest
) -> None:
    level = Classifier.open(request.getfixturevalue(kind), engine=ONE_THREAD)
    with pytest.raises(BundleError, match="states no positive label, so nothing says what to flag"):
        Gate.of_level(level)


def test_a_verdict_of_a_cascade_has_every_label_of_a_wide_level_1(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    """Level 1 may have more than two labels: none of their probabilities is made up."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "wide"))

    def swap(data: dict) -> None:  # type: ignore[type-arg]
        data["cascade"].update(gate="level2", positive_label=HAZARDS[4], hazards="level1")

    edit_manifest(bundle, swap)
    gate = Gate.open(bundle, engine=ONE_THREAD)
    verdict = gate.check("hello")
    np.testing.assert_array_equal(
        list(verdict.scores.values()), gate.level1.probabilities(["hello"])[0]
    )
    assert verdict.unsafe == verdict.scores[HAZARDS[4]]


# The pure step


def test_an_empty_text_has_the_scores_of_its_one_window() -> None:
    head = LabelHead(labels=INTENT, activation="softmax", positive=None, thresholds=(0.5,) * 3)
    scores = scores_of_windows(head, np.array([[0.0, 0.0, 9.0]], dtype=np.float32), [0])
    assert labels_that_hold(head, scores, flagged=False) == ("maths",)
    assert sum(scores.values()) == pytest.approx(1)


def test_a_positive_label_below_its_threshold_does_not_hold_however_probable() -> None:
    head = LabelHead(
        labels=JAILBREAK, activation="softmax", positive="jailbreak", thresholds=(0.5, 0.5)
    )
    scores = {"benign": 0.3, "jailbreak": 0.7}
    assert labels_that_hold(head, scores, flagged=False) == ("benign",)
    assert labels_that_hold(head, scores, flagged=True) == ("jailbreak",)
    multi = dataclasses.replace(head, activation="sigmoid", thresholds=(0.3, 0.8))
    assert labels_that_hold(multi, scores, flagged=True) == ("benign",)


# hazgate classify


def _classify(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["classify", "--threads", "1", *map(str, arguments)])


def test_the_command_prints_verdicts_of_a_gate_and_labels_of_any_other_level(
    jailbreak: Path, intent: Path, vela: Path
) -> None:
    verdicts = _classify(jailbreak, "good", "good morning")
    assert verdicts.exit_code == 0, verdicts.output
    calm, attack = map(json.loads, verdicts.stdout.splitlines())
    assert (calm["flagged"], attack["flagged"]) == (False, True)
    assert list(attack["scores"]) == list(JAILBREAK)
    labels = _classify(intent, "good", "good morning")
    assert [json.loads(line)["labels"] for line in labels.stdout.splitlines()] == [
        ["chat"],
        ["code"],
    ]
    assert "flagged" not in labels.stdout
    table = _classify(vela, "morning", "good", "--table").stdout
    assert "H3 0.731" in table
    assert "none" in table


def test_an_option_that_needs_a_verdict_or_hazards_is_refused_by_name(
    jailbreak: Path, intent: Path
) -> None:
    for bundle, options, named in (
        (intent, ["--fail-on-flagged"], "leave --fail-on-flagged out"),
        (intent, ["--threshold", "0.5"], "leave the threshold and the policies out"),
        (intent, ["--taxonomy", "openai"], "needs a cascade of two levels"),
        (jailbreak, ["--taxonomy", "openai"], "is served as one level, jailbreak"),
    ):
        done = _classify(bundle, "good", *options)
        assert done.exit_code == 3, done.output
        assert named in done.stderr
        assert not done.stdout
    assert _classify(jailbreak, "morning", "--fail-on-flagged").exit_code == 1


def test_a_level_of_several_is_classified_by_name(tiny_bundle: Path) -> None:
    (line,) = _classify(tiny_bundle, "hello", "--level", "level2").stdout.splitlines()
    assert list(json.loads(line)["scores"]) == list(HAZARDS)
    (line,) = _classify(tiny_bundle, "hello", "--level", "level1").stdout.splitlines()
    assert json.loads(line)["hazards"] is None
