"""`hazgate corpus`, `plan` and `triton` on a bundle of one level, without a cascade."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hazgate import Gate
from hazgate.classifier import Classifier
from hazgate.cli.group import cli
from hazgate.judge import open_gate
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.output import Output
from hazgate_scale.corpus.work import do_shard
from tests.support.corpora import job_of, parts_of, planned, write_jsonl
from tests.support.lone import write_intent, write_jailbreak
from tests.support.processes import run

TEXTS = ["good", "good morning", "world", "good good"]


@pytest.fixture(scope="module")
def jailbreak(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jailbreak(tiny_bundle, tmp_path_factory.mktemp("lone"))


@pytest.fixture(scope="module")
def intent(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_intent(tiny_bundle, tmp_path_factory.mktemp("lone"))


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def _assert_judged(jailbreak: Path, output: Path) -> None:
    rows = parts_of(output)
    assert [row["text"] for row in rows] == TEXTS
    gate = Gate.of_level(Classifier.open(jailbreak))
    assert [row["hazgate_flagged"] for row in rows] == [gate.check(text).flagged for text in TEXTS]
    assert sum(row["hazgate_flagged"] for row in rows) == 2
    assert not [name for name in rows[0] if name.startswith("hazgate_hazard")]


def test_a_shard_is_judged_by_one_level_without_columns_of_hazards(
    jailbreak: Path, tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    gate, options = open_gate(jailbreak), CorpusOptions()
    found, (shard,), passed = planned(file, options)
    do_shard(gate, job_of(gate, options, passed), Output.at(str(tmp_path / "out")), found, shard)
    _assert_judged(jailbreak, tmp_path / "out")


@pytest.mark.slow
def test_the_command_judges_a_corpus_by_one_level(jailbreak: Path, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    words = ("corpus", jailbreak, "--input", file, "--output", tmp_path / "out", "--actors", "1")
    done = run(sys.executable, "-m", "hazgate", *words)
    assert done.returncode == 0, done.stderr
    _assert_judged(jailbreak, tmp_path / "out")
    assert json.loads((tmp_path / "out/_manifest.json").read_text())["judge"]["labels"] == []


def test_a_corpus_needs_a_level_that_flags(intent: Path, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"text": "good"}])
    done = _run("corpus", intent, "--input", file, "--output", tmp_path / "out")
    assert done.exit_code == 3, done.output
    assert "level intent states no positive label, so nothing says what to flag" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["jailbreak", "intent"])
def test_plans_and_triton_repositories_need_two_levels(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle = request.getfixturevalue(name)
    lengths = tmp_path / "lengths.jsonl"
    lengths.write_text("5\n9\n", encoding="utf-8")
    planned = _run(
        "plan", "--qps", 10, "--p99-ms", 100, "--lengths", lengths, "--measure", bundle,
        "--save-times", tmp_path / "times.json",
    )  # fmt: skip
    assert planned.exit_code == 3, planned.output
    assert "a capacity plan needs" in planned.stderr
    assert "cascade" in planned.stderr
    written = _run("triton", bundle, tmp_path / "models")
    assert written.exit_code == 3, written.output
    assert f"a model repository needs a cascade of two levels, and {name} has none" in (
        written.stderr
    )
    assert "hazgate classify and serve" in written.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lengths.jsonl"]
