"""Replays of traffic: seeded, growing at their end, and read equally with and without a store."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness.store import RESULTS, load
from benchmarks.traffic.store import StoreResults, main
from benchmarks.traffic.texts import REPLAYS, agent


@pytest.mark.parametrize("name", REPLAYS)
def test_a_replay_is_the_same_for_a_seed_only(name: str) -> None:
    make = REPLAYS[name]
    assert make(1, 8) == make(1, 8) != make(2, 8)
    assert len(make(1, 8)) == 8


def test_an_agent_sends_all_again_with_a_call_and_a_result() -> None:
    first, *others = agent(1, 4)
    assert [message.role for message in first] == ["system", "user", "assistant", "tool"]
    assert [len(message.content.split()) for message in first[2:]] == [40, 120]
    for before, after in zip([first, *others], others, strict=False):
        assert after[: len(before)] == before
        assert [message.role for message in after[len(before) :]] == ["assistant", "tool"]


def test_the_table_has_each_replay_and_no_verdict_differs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Path
) -> None:
    monkeypatch.setattr("benchmarks.traffic.store.RESULTS", tmp_path)
    monkeypatch.setattr("benchmarks.traffic.store._REPEATS", 1)
    # The small tokenizer has a token for each letter.
    for name in ("SYSTEM", "QUESTION", "ANSWER", "CALL", "RESULT"):
        monkeypatch.setattr(f"benchmarks.traffic.texts._{name}_WORDS", 6)
    done = CliRunner().invoke(main, [str(tiny_bundle), "--steps", "3", "--variant", "int8"])
    assert done.exit_code == 0, done.output
    results = load(StoreResults, tmp_path / "traffic-store.json")
    assert len(results.replays) == 6
    assert {each.n_different for each in results.replays} == {0}
    whole = next(each for each in results.replays if each.scope == "each")
    assert whole.share_found > 0.5
    assert len([line for line in done.output.splitlines() if line.startswith("|")]) == 2 + 6


def test_a_variant_that_is_not_kept_is_refused(tiny_bundle: Path) -> None:
    done = CliRunner().invoke(main, [str(tiny_bundle), "--variant", "fp32"])
    assert done.exit_code == 1
    assert "the store keeps nothing of fp32" in done.output


@pytest.mark.results
def test_committed_results_keep_the_promises() -> None:
    results = load(StoreResults, RESULTS / "traffic-store.json")
    assert {each.n_different for each in results.replays} == {0}
    agents = [each for each in results.replays if each.replay == "agent" and each.scope != "last"]
    assert agents
    for each in agents:
        assert each.n_steps == 60
        assert each.engine_ratio >= 20
        assert each.last_ratio <= 1.5
