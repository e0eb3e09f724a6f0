"""`hazgate calibrate --level` chooses thresholds of labels beside the cascade."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hazgate import EngineOptions, Gate, InputError, Policy
from hazgate.cli.group import cli
from hazgate.judging.classification import LabelHead
from hazgate_evaluation.calibration.beside import points_beside
from hazgate_evaluation.calibration.report import LevelPoints
from hazgate_evaluation.calibration.split import fit_half
from hazgate_evaluation.calibration.thresholds import ThresholdTarget
from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.scores import LevelScores
from tests.support.labelled import write_rows
from tests.support.panel_bundle import write_panel
from tests.support.tagger import LEVEL, write_tagged_panel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEAD = LabelHead(labels=("a", "b"), activation="sigmoid", positive=None, thresholds=(0.5, 0.5))
FPR = ThresholdTarget(kind="fpr", value=0.1)


def _points(n_rows: int, few: int | None = None) -> tuple[LevelPoints, np.ndarray, np.ndarray]:
    """Return points of rows of which every third is unknown; of "b" no more than `few` hold."""
    random = np.random.default_rng(3)
    probabilities = random.random((n_rows, 2))
    held = random.random((n_rows, 2)) < probabilities
    if few is not None:
        held[:, 1] = np.arange(n_rows) % 3 * (np.arange(n_rows) < 3 * few // 2) > 0
    rows = [
        LabelledRow(
            number=i,
            text="or",
            level1="safe",
            level2=None,
            lang=None,
            source=None,
            group=str(i),
            levels={"pii": tuple(np.array(["a", "b"])[held[i]])} if i % 3 else {},
        )
        for i in range(n_rows)
    ]
    group = np.arange(n_rows)
    fit = fit_half(group, 1)
    scores = LevelScores(probabilities=probabilities, holds=probabilities >= 0.5)
    (found,) = points_beside(rows, {"pii": HEAD}, {"pii": scores}, FPR, fit=fit, group=group)
    return found, probabilities[~fit & (group % 3 > 0)], held[~fit & (group % 3 > 0)]


def test_each_label_keeps_the_target_on_rows_that_it_was_not_chosen_on() -> None:
    found, probabilities, held = _points(3000)
    for i, each in enumerate(found.labels):
        point = each.point
        assert point.threshold is not None
        assert point.false_positive_rate is not None
        passed = ~held[:, i]
        rate = (probabilities[passed, i] >= point.threshold).mean()
        assert point.false_positive_rate.value == pytest.approx(rate)
        assert rate == pytest.approx(0.1, abs=4 * (2 * 0.09 / passed.sum()) ** 0.5)


def test_a_label_of_few_rows_says_why_it_has_no_threshold() -> None:
    found, _, _ = _points(900, few=20)
    assert found.labels[0].point.threshold is not None
    assert found.labels[1].point.threshold is None
    assert found.labels[1].point.problem == "fewer than 30 rows with it or without it in a half"


def test_a_level_without_any_threshold_is_refused() -> None:
    with pytest.raises(InputError, match="no label of pii has a threshold that could be chosen: a"):
        _points(60)


def _rows(n_rows: int) -> list[dict[str, Any]]:
    """Return rows of which the panel gets most, but not all, right."""
    return [
        {
            "text": ("good" if i % 3 == 0 else "or")
            + (" morning" if i % 2 else "")
            + (" world" if i % 5 == 0 else ""),
            "level1": "unsafe" if (i % 2 == 1) != (i % 14 == 0) else "safe",
            "level2": None,
            "pii": ["email", *(["name"] if i % 2 else [])] if (i % 3 == 0) != (i % 7 == 0) else [],
            "injection": "injection" if (i % 5 == 0) != (i % 11 == 0) else "none",
        }
        for i in range(n_rows)
    ]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))


def _calibrate(bundle: Path, folder: Path, rows: list[dict[str, Any]], *more: str) -> Any:  # noqa: ANN401 - click's
    data = write_rows(folder / "rows.jsonl", rows)
    out = folder / "policy.toml"
    words = ["calibrate", bundle, "--data", data, "--out", out, "--target-recall", "0.5", *more]
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_the_policy_has_rules_of_the_levels_and_fits_the_bundle(
    bundle: Path, tmp_path: Path
) -> None:
    done = _calibrate(bundle, tmp_path, _rows(600), "--level", "pii", "--level", "injection")
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "policy.toml").read_text(encoding="utf-8")
    report = json.loads((tmp_path / "policy.json").read_text(encoding="utf-8"))
    levels = tomllib.loads(text)["levels"]
    assert set(levels) == {"pii", "injection"}
    for level in report["levels"]:
        rule = levels[level["level"]]
        chosen = {
            each["label"]: each["point"]["threshold"]
            for each in level["labels"]
            if each["point"]["threshold"] is not None
        }
        assert rule == {"action": "flag", "labels": list(chosen), "thresholds": chosen}
    assert list(levels["injection"]["labels"]) == ["injection"]
    assert "phone" not in levels["pii"]["labels"]
    assert "# phone has no threshold: fewer than 30 rows with it or without it in a half" in text
    assert "| pii, a label against the rest, recall ≥ 0.5 | threshold |" in done.stdout
    policy = Policy.parse(text.encode())
    gate = Gate.open(bundle, engine=EngineOptions(threads=1), policy=policy)
    flagged, passed = gate.check_many(["world", "or"])
    assert flagged.decision is not None
    assert passed.decision is not None
    assert (flagged.decision.action, flagged.decision.levels) == ("flag", ("injection",))
    assert passed.decision.action == "allow"


def test_without_a_level_the_policy_has_none(bundle: Path, tmp_path: Path) -> None:
    assert _calibrate(bundle, tmp_path, _rows(300)).exit_code == 0
    assert "levels" not in tomllib.loads((tmp_path / "policy.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (LEVEL, "is a token level, whose rows mark spans: choose its thresholds from"),
        ("topic", "topic states no positive label, so that no threshold flags a text: write [lev"),
        ("level2", "level2 is no level beside the cascade of tagged-panel, which has injection, p"),
        ("spam", "spam is no level beside the cascade"),
    ],
)
def test_levels_that_have_no_such_thresholds_are_refused_by_name(
    tiny_bundle: Path, tmp_path: Path, level: str, said: str
) -> None:
    bundle = write_tagged_panel(tiny_bundle, tmp_path)
    done = _calibrate(bundle, tmp_path, _rows(10), "--level", level)
    assert done.exit_code != 0
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "policy.toml").exists()


def test_a_field_that_no_row_has_is_named(bundle: Path, tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "pii"} for row in _rows(300)]
    done = _calibrate(bundle, tmp_path, rows, "--level", "pii")
    assert done.exit_code == 4
    assert "none of the 300 rows has the field 'pii'" in " ".join(done.stderr.split())
    assert _calibrate(bundle, tmp_path, rows, "--level", "pii", "--level", "pii").exit_code == 2
