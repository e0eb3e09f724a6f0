"""`hazgate evaluate` and `calibrate` on a bundle of one level, without a cascade."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hazgate import Classifier, Gate, Policy
from hazgate.cli.group import cli
from hazgate.engine.options import EngineOptions
from tests.support.labelled import write_rows
from tests.support.lone import write_intent, write_jailbreak, write_vela_hazards

ONE_THREAD = EngineOptions(threads=1)


def _rows(n_rows: int) -> list[dict[str, Any]]:
    """Return rows of which the level gets most, but not all, right."""
    return [
        {
            "text": f"good morning {i}" if i % 2 else f"good {i}",
            "level1": "jailbreak" if (i % 2 == 1) != (i % 10 < 2) else "benign",
        }
        for i in range(n_rows)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lone")


@pytest.fixture(scope="module")
def jailbreak(tiny_bundle: Path, folder: Path) -> Path:
    return write_jailbreak(tiny_bundle, folder)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_gate_of_one_level_is_evaluated_and_compared(jailbreak: Path, tmp_path: Path) -> None:
    rows = _rows(60)
    data = write_rows(tmp_path / "rows.jsonl", rows)
    done = _run(
        "evaluate", jailbreak, "--data", data, "--report", tmp_path / "out",
        "--against", jailbreak, "--mutation-texts", 4, "--stream-texts", 2,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))
    first = report["systems"][0]
    assert first["bundle"] == "jailbreak"
    assert first["level2"] is None
    gate = Gate.of_level(Classifier.open(jailbreak, engine=ONE_THREAD))
    flagged = [verdict.flagged for verdict in gate.check_many([row["text"] for row in rows])]
    unsafe = [row["level1"] == "jailbreak" for row in rows]
    recall = sum(f and u for f, u in zip(flagged, unsafe, strict=True)) / sum(unsafe)
    assert first["level1"]["flags"]["recall"]["value"] == pytest.approx(recall)
    assert 0.5 < recall < 1
    (comparison,) = report["comparisons"]
    assert (comparison["n_flags_changed"], comparison["n_hazards_changed"]) == (0, 0)
    assert "Level 2 macro-F1" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_rows_with_hazards_that_it_does_not_have_are_refused(
    jailbreak: Path, tmp_path: Path
) -> None:
    rows = [{**row, "level2": "S7_hate"} for row in _rows(4)]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    done = _run("evaluate", jailbreak, "--data", data, "--report", tmp_path / "out")
    assert done.exit_code == 4
    assert "unknown labels in level2: 'S7_hate' (4 lines); the bundle has no such level" in (
        done.stderr
    )


def test_its_policy_is_fitted_and_decides(jailbreak: Path, tmp_path: Path) -> None:
    data, out = write_rows(tmp_path / "rows.jsonl", _rows(400)), tmp_path / "policy.toml"
    done = _run("calibrate", jailbreak, "--data", data, "--out", out, "--target-fpr", 0.25)
    assert done.exit_code == 0, done.output
    policy = Policy.load(out)
    gate = Gate.of_level(Classifier.open(jailbreak, engine=ONE_THREAD), policy=policy)
    attack, calm = gate.check_many(["good morning", "good"])
    assert attack.decision is not None
    assert calm.decision is not None
    assert (attack.decision.action, calm.decision.action) == ("block", "allow")
    assert "Level 2" not in done.stdout


@pytest.mark.parametrize("write", [write_intent, write_vela_hazards])
def test_a_level_that_flags_nothing_is_refused_by_name(
    tiny_bundle: Path,
    tmp_path: Path,
    write: Any,  # noqa: ANN401
) -> None:
    bundle = write(tiny_bundle, tmp_path)
    data = write_rows(tmp_path / "rows.jsonl", _rows(4))
    report, out = tmp_path / "out", tmp_path / "policy.toml"
    for arguments in (
        ("evaluate", bundle, "--data", data, "--report", report),
        ("calibrate", bundle, "--data", data, "--out", out),
    ):
        done = _run(*arguments)
        assert done.exit_code == 3, done.output
        assert "states no positive label, so nothing says what to flag" in done.stderr
        assert "export it with `positive`" in done.stderr
    assert not out.exists()
    assert not list(report.iterdir())
