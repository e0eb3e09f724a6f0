"""Levels on one body share one pass, and levels beside the cascade answer what is asked."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hazgate import BundleError, Classifier, EngineOptions, Gate, InputError, Policy, PolicyError
from hazgate.cli.group import cli
from hazgate.doctor import diagnose
from hazgate.engine.logit_store import LogitStore, StoreLimits
from hazgate.text.reading import Reading
from tests.support.panel_bundle import INJECTION_BLOCKS, PII, TOPIC, write_panel
from tests.support.sessions import watched_gate
from tests.support.spotter import MORNING_HAZARD
from tests.support.tiny import HAZARDS

ALL = ("injection", "pii", "topic")
POLICY = (
    INJECTION_BLOCKS
    + b"""[levels.pii]
action = "flag"
labels = ["email"]
"""
)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))


@pytest.fixture(scope="module")
def gate(bundle: Path) -> Gate:
    return Gate.open(bundle, engine=EngineOptions(threads=1), reading=Reading(views=()))


def _counted(gate: Gate) -> tuple[Gate, list[int]]:
    """Return a gate without a store, and the rows of each run of its first body."""
    rows: list[int] = []
    bare = dataclasses.replace(gate, store=None)
    return watched_gate(bare, lambda input_ids: rows.append(len(input_ids))), rows


def test_each_level_answers_by_its_own_columns(gate: Gate) -> None:
    verdict = gate.check("morning", levels=ALL)
    assert (verdict.flagged, verdict.hazard) == (True, HAZARDS[MORNING_HAZARD])
    assert verdict.levels["injection"].labels == ("none",)
    assert verdict.levels["pii"].labels == ()
    verdict = gate.check("good world", levels=ALL)
    assert not verdict.flagged
    assert verdict.levels["injection"].labels == ("injection",)
    assert verdict.levels["injection"].flagged
    # P(name) is 0.73, and it holds from 0.7 on.
    assert verdict.levels["pii"].labels == ("email", "name")
    assert set(verdict.levels["pii"].scores) == set(PII)
    assert verdict.levels["topic"].labels == (TOPIC[2],)
    assert verdict.levels["topic"].flagged is None


def test_a_level_says_the_same_alone_as_in_the_panel(bundle: Path, gate: Gate) -> None:
    for text in ("morning world", "good", "other words", "good world " * 9):
        for name, result in gate.check(text, levels=ALL).levels.items():
            alone = Classifier.open(bundle, name, engine=EngineOptions(threads=1))
            (expected,) = alone.classify([text])
            assert (result.labels, result.scores) == (expected.labels, expected.scores)


def test_one_pass_answers_every_level_of_a_body(gate: Gate) -> None:
    counted, rows = _counted(gate)
    assert counted.check("morning", levels=("injection", "pii")).hazards is not None
    assert rows == [1]


def test_levels_of_a_body_share_its_session_and_tokenizer(gate: Gate) -> None:
    level1, level2, injection, pii, topic = gate.levels
    assert level1.session is level2.session is injection.session is pii.session
    assert topic.session is not level1.session
    assert topic.tokenizer is level1.tokenizer


def test_a_kept_window_answers_every_level_of_its_body(gate: Gate) -> None:
    counted, rows = _counted(gate)
    stored = dataclasses.replace(counted, store=LogitStore(StoreLimits()))
    first = stored.check("morning")
    assert stored.check("morning", levels=("injection",)).levels["injection"].labels == ("none",)
    assert stored.check("morning", all_levels=True) == first
    assert len(rows) == 1


def test_of_a_long_text_each_level_is_decided_by_its_own_window(gate: Gate) -> None:
    words = ["other"] * 40
    words[3], words[20], words[36] = "morning", "world", "good"
    verdict = gate.check(" ".join(words), levels=ALL)
    assert verdict.tokens.windows > 3
    assert verdict.flagged
    assert verdict.levels["injection"].labels == ("injection",)
    assert verdict.levels["pii"].labels == ("email", "name")


def test_a_text_has_the_same_answers_alone_and_among_others(gate: Gate) -> None:
    texts = ["morning", "good world", "", "other " * 30, "world " * 20]
    together = gate.check_many(texts, levels=ALL)
    assert together == [gate.check(text, levels=ALL) for text in texts]


def test_only_what_was_asked_for_is_answered(gate: Gate) -> None:
    assert gate.check("world").levels == {}
    assert "levels" not in gate.check("world").to_dict()
    assert list(gate.check("world", levels=["pii"]).levels) == ["pii"]
    asked = gate.ask(["world"], levels=("pii",)) + gate.ask(["world"])
    assert [list(verdict.levels) for verdict in gate.answer(asked)] == [["pii"], []]


def test_what_names_no_level_is_refused(bundle: Path, gate: Gate) -> None:
    with pytest.raises(InputError, match="no level 'level2', 'other' beside the cascade; panel"):
        gate.check("good", levels=("other", "level2"))
    with pytest.raises(InputError, match="got one string"):
        gate.check("good", levels="pii")
    alone = Gate.of_level(Classifier.open(bundle, "injection"))
    with pytest.raises(InputError, match="has none"):
        alone.check("good", levels=("pii",))
    with pytest.raises(InputError, match="level1 stands alone"):
        gate.level1.ask(["good"], levels=("pii",))


def test_a_policy_always_asks_for_the_levels_that_it_names(gate: Gate) -> None:
    ruled = gate.with_policy(Policy.parse(POLICY, source="policy.toml"))
    verdict = ruled.check("world")
    assert list(verdict.levels) == ["injection", "pii"]
    assert verdict.decision is not None
    assert (verdict.decision.action, verdict.decision.levels) == ("block", ("injection",))
    assert verdict.flagged
    verdict = ruled.check("good")
    assert verdict.decision is not None
    assert (verdict.decision.action, verdict.decision.levels) == ("flag", ("pii",))
    verdict = ruled.check("other")
    assert verdict.decision is not None
    assert (verdict.decision.action, verdict.flagged) == ("allow", False)


def test_a_shadow_policy_reads_its_levels_and_changes_nothing(gate: Gate) -> None:
    shadowed = gate.with_policy(None, shadow=Policy.parse(POLICY, source="policy.toml"))
    verdict = shadowed.check("world")
    assert not verdict.flagged
    assert verdict.shadow is not None
    assert verdict.shadow.levels == ("injection",)


def test_a_policy_for_a_level_that_is_not_there_is_refused(gate: Gate, tiny_bundle: Path) -> None:
    policy = Policy.parse(POLICY, source="policy.toml")
    with pytest.raises(PolicyError, match="injection"):
        Gate.open(tiny_bundle, policy=policy)
    wrong = Policy.parse(POLICY.replace(b'"email"', b'"fax"'), source="policy.toml")
    with pytest.raises(PolicyError, match="fax"):
        gate.with_policy(wrong)


def test_each_level_can_be_changed_at_once(gate: Gate) -> None:
    changed = gate.each_level(lambda level: dataclasses.replace(level, max_batch_tokens=7))
    assert [level.max_batch_tokens for level in changed.levels] == [7] * len(gate.levels)


def test_logits_of_a_level_are_columns_of_its_body(gate: Gate) -> None:
    ids = gate.level1.tokenizer.encode(["good world"])[0].windows[0].input_ids
    rows = gate.level1.session.run(np.array([ids]), np.ones((1, len(ids)), dtype=np.int64))
    for level in gate.levels[:4]:
        np.testing.assert_array_equal(level.logits_of_ids([ids]), level.own(rows))


def test_the_doctor_opens_a_body_once_and_names_its_levels(bundle: Path) -> None:
    checks = [check.name for check in diagnose(bundle, EngineOptions(threads=1)).checks]
    assert "level1, level2, injection, pii open" in checks
    assert "topic opens" in checks


def test_a_graph_of_another_width_is_refused(bundle: Path, tmp_path: Path) -> None:
    import shutil

    from tests.support.damage import replace_file
    from tests.support.graphs import constant_graph

    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    replace_file(copy, "body-int8.onnx", constant_graph([0.0] * 16))
    with pytest.raises(BundleError, match="17"):
        Gate.open(copy, engine=EngineOptions(threads=1))


def test_classify_prints_the_levels_that_are_asked_for(bundle: Path) -> None:
    def run(*options: str) -> str:
        done = CliRunner().invoke(cli, ["classify", str(bundle), "good world", *options])
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    assert "levels" not in json.loads(run())
    assert list(json.loads(run("--levels", "pii, topic"))["levels"]) == ["pii", "topic"]
    everything = json.loads(run("--levels", "all"))
    assert list(everything["levels"]) == list(ALL)
    assert everything["hazards"] is not None
    table = run("--levels", "all", "--table")
    assert "injection: injection 0.953" in table
    assert "email" in table
    refused = CliRunner().invoke(cli, ["classify", str(bundle), "good", "--levels", "spam"])
    assert refused.exit_code != 0
    assert "no level 'spam'" in refused.output


def test_a_watched_text_is_stopped_by_a_level_of_the_policy(gate: Gate) -> None:
    ruled = gate.with_policy(Policy.parse(POLICY, source="policy.toml"))
    watch = ruled.watch(stride_tokens=1)
    assert not watch.add("other words and ")
    assert watch.add("world and ")
    verdict = watch.finish()
    assert verdict.decision is not None
    assert verdict.decision.levels == ("injection",)
    assert not gate.watch(stride_tokens=1).add("other world and ")
