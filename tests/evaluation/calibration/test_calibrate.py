"""`hazgate calibrate` writes a policy that keeps its promise on rows it has not seen."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hazgate import BundleError, InputError, ModelIdentity
from hazgate.cli.group import cli
from hazgate.documents.decode import decode
from hazgate_evaluation.calibration.policy_file import policy_text
from hazgate_evaluation.calibration.report import CalibrationReport, markdown
from hazgate_evaluation.calibration.run import CalibrationResult, calibrate, check_level1_labels
from hazgate_evaluation.calibration.split import fit_half
from hazgate_evaluation.calibration.thresholds import ThresholdTarget
from hazgate_evaluation.report import DataFacts
from hazgate_evaluation.scores import Scores
from hazgate_evaluation.truth import Truth
from tests.support.labelled import own_rows, write_rows
from tests.support.processes import run_python

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LABELS = ("a", "b", "c")
FACTS = DataFacts(
    name="rows\n.jsonl",
    sha256="0" * 64,
    n_rows_in_file=9,
    n_rows=9,
    n_groups=9,
    n_level1=9,
    n_unsafe=4,
    n_hazard=3,
)
MODEL = ModelIdentity(bundle='mi"ni', digest="1" * 64, variant="fp32", provider="CPU")
FPR = ThresholdTarget(kind="fpr", value=0.1)


def _too_sure(n_rows: int, planted: float) -> tuple[Truth, Scores]:
    """Rows whose logits are `planted` times too large, two of each group."""
    random = np.random.default_rng(1)
    logits = random.normal(size=n_rows) * 2
    unsafe = random.random(n_rows) < 1 / (1 + np.exp(-logits))
    hazards = random.normal(size=(n_rows, 3)) * 2
    chances = np.exp(hazards) / np.exp(hazards).sum(axis=1, keepdims=True)
    hazard = (chances.cumsum(axis=1) < random.random((n_rows, 1))).sum(axis=1)
    sure = np.exp(planted * hazards)
    return Truth(
        known=np.ones(n_rows, dtype=np.bool_),
        unsafe=unsafe,
        hazard=np.where(unsafe, hazard, -1),
        group=np.arange(n_rows) // 2,
    ), Scores(
        unsafe=1 / (1 + np.exp(-planted * logits)),
        hazards=sure / sure.sum(axis=1, keepdims=True),
        n_tokens=np.full(n_rows, 9, dtype=np.int64),
    )


def _calibrate(truth: Truth, scores: Scores, target: ThresholdTarget = FPR) -> CalibrationResult:
    return calibrate(truth, scores, LABELS, target, data=FACTS, model=MODEL)


@pytest.fixture(scope="module")
def found() -> CalibrationReport:
    return _calibrate(*_too_sure(6000, 3.0)).report


def test_probabilities_that_are_too_sure_are_mended_on_the_other_half(
    found: CalibrationReport,
) -> None:
    assert found.level2 is not None
    for level in (found.level1, found.level2):
        assert level.temperature == pytest.approx(3, rel=0.1)
        assert level.ece_before is not None
        assert level.ece_after is not None
        assert level.ece_after.high < level.ece_before.low
        assert level.nll_after < level.nll_before
    assert found.level1.n_fit + found.level1.n_test == 6000


def test_the_chosen_rate_is_about_kept_on_the_other_half(found: CalibrationReport) -> None:
    for point, rate in ((found.unsafe, 0.1), (found.controversial, 0.2)):
        assert point.target.value == rate
        assert point.false_positive_rate is not None
        # Both halves, of 1,500 safe rows each, err: four standard errors of their difference.
        margin = 4 * (2 * rate * (1 - rate) / 1500) ** 0.5
        assert point.false_positive_rate.value == pytest.approx(rate, abs=margin)


def test_the_figures_are_of_the_half_that_nothing_was_fitted_on() -> None:
    truth, scores = _too_sure(2000, 3.0)
    fit = fit_half(truth.group, 20260)
    # Whatever the fitted half's rows are, the measured half's labels turned round show.
    turned = Truth(
        known=truth.known,
        unsafe=np.where(fit, truth.unsafe, ~truth.unsafe),
        hazard=truth.hazard,
        group=truth.group,
    )
    before, after = _calibrate(truth, scores).report, _calibrate(turned, scores).report
    assert after.level1.temperature == before.level1.temperature
    assert after.unsafe.threshold == before.unsafe.threshold
    assert before.unsafe.recall is not None
    assert after.unsafe.false_positive_rate is not None
    assert after.unsafe.false_positive_rate.value == pytest.approx(before.unsafe.recall.value)


def test_a_recall_is_kept_too_and_the_cautious_threshold_is_lower() -> None:
    report = _calibrate(*_too_sure(4000, 1.0), ThresholdTarget(kind="recall", value=0.8)).report
    assert report.unsafe.recall is not None
    assert report.unsafe.recall.value == pytest.approx(0.8, abs=0.08)
    assert report.unsafe.threshold is not None
    assert report.controversial.threshold is not None
    assert 0 < report.controversial.threshold < report.unsafe.threshold < 1
    assert report.policy == 'mi"ni-recall80'


def test_the_policy_is_toml_of_the_promised_shape(found: CalibrationReport) -> None:
    text = policy_text(found)
    assert tomllib.loads(text) == {
        "schema_version": 1,
        "name": 'mi"ni-fpr10',
        "mode": "loose",
        "temperature": {
            "gate": found.level1.temperature,
            "hazards": found.level2.temperature if found.level2 else None,
        },
        "gate": {
            "controversial": found.controversial.threshold,
            "unsafe": found.unsafe.threshold,
        },
        "hazards": {"default": {"action": "block", "threshold": 0.3}},
    }
    comments = [line for line in text.splitlines() if line.startswith("#")]
    for fact in (
        MODEL.digest,
        FACTS.sha256,
        found.created,
        "FPR ≤ 0.1",
        "FPR ≤ 0.2",
        "rows?.jsonl",
    ):
        assert any(fact in comment for comment in comments)


def test_a_hazard_of_few_rows_has_no_threshold_and_says_why() -> None:
    truth, scores = _too_sure(3000, 2.0)
    few = np.where(truth.hazard == 2, 1, truth.hazard)
    few[np.flatnonzero(truth.hazard == 2)[:20]] = 2
    truth = Truth(known=truth.known, unsafe=truth.unsafe, hazard=few, group=truth.group)
    first, _, third = _calibrate(truth, scores).report.hazards
    assert first.point.threshold is not None
    assert first.point.problem is None
    assert third.n_fit + third.n_test == 20
    assert third.point.threshold is None
    assert third.point.problem == "fewer than 30 rows in a half"


def test_without_hazards_level2_keeps_its_temperature() -> None:
    truth, scores = _too_sure(2000, 2.0)
    none = np.full(2000, -1, dtype=np.int64)
    truth = Truth(known=truth.known, unsafe=truth.unsafe, hazard=none, group=truth.group)
    found = _calibrate(truth, scores)
    assert found.level2 is None
    assert found.report.level2 is None
    assert found.report.hazards == ()
    assert tomllib.loads(policy_text(found.report))["temperature"]["hazards"] == 1.0
    assert "Level 2" not in markdown(found.report)


def test_a_half_without_enough_of_a_class_is_refused() -> None:
    truth, scores = _too_sure(2000, 2.0)
    few = np.arange(2000) < 40
    truth = Truth(known=truth.known, unsafe=few, hazard=truth.hazard, group=truth.group)
    with pytest.raises(InputError, match="must be at least 30"):
        _calibrate(truth, scores)


def test_a_rate_finer_than_the_rows_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"FPR ≤ 1e-05 cannot be reached on .* nearest"):
        _calibrate(*_too_sure(2000, 2.0), ThresholdTarget(kind="fpr", value=1e-5))


def test_a_gate_of_more_than_two_labels_is_refused() -> None:
    check_level1_labels(("safe", "unsafe"), "unsafe")
    with pytest.raises(BundleError, match="two labels"):
        check_level1_labels(("safe", "odd", "unsafe"), "unsafe")


# From the command line


def _run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["calibrate", *(str(argument) for argument in arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_policy_figures_and_plot_and_prints_tables(
    mini_bundle: Path, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", own_rows(400))
    out = tmp_path / "new" / "policy.toml"
    code, printed, error = _run(mini_bundle, "--data", data, "--out", out, "--target-fpr", "0.1")
    assert code == 0, error
    assert "400/400" in error
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["policy.json", "policy.png", "policy.toml"]
    policy = tomllib.loads(out.read_text(encoding="utf-8"))
    problems: list[str] = []
    written: Any = json.loads(out.with_suffix(".json").read_bytes())
    report = decode(CalibrationReport, written, problems)
    assert problems == []
    assert report is not None
    assert policy["gate"]["unsafe"] == report.unsafe.threshold
    assert 0 < policy["gate"]["controversial"] <= policy["gate"]["unsafe"] < 1
    assert printed == markdown(report) + "\n"
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    texts = [row["text"] for row in own_rows(400)]
    assert not any(text in printed + error + out.read_text(encoding="utf-8") for text in texts)


def test_the_command_needs_neither_torch_nor_transformers(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", own_rows(300))
    code = (
        "import sys\n"
        "from hazgate.cli.group import cli\n"
        "cli(standalone_mode=False)\n"
        "sys.exit(', '.join({'torch', 'transformers', 'onnx'} & set(sys.modules)) or 0)"
    )
    out = tmp_path / "policy.toml"
    done = run_python("-c", code, "calibrate", tiny_bundle, "--data", data, "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.is_file()


def test_a_target_out_of_reach_exits_with_4_and_leaves_nothing(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", own_rows(300))
    out = tmp_path / "out" / "policy.toml"
    code, printed, error = _run(tiny_bundle, "--data", data, "--out", out, "--target-fpr", "0.0001")
    assert (code, printed) == (4, "")
    assert "cannot be reached" in error
    assert list(out.parent.iterdir()) == []


def test_bad_data_exit_with_4_and_leave_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "policy.toml"
    bad = write_rows(tmp_path / "bad.jsonl", [{"text": "unrepeatable", "level1": "toxic"}])
    for data, said in ((bad, "level2 is missing"), (tmp_path / "none.jsonl", "cannot be read")):
        code, printed, error = _run(tiny_bundle, "--data", data, "--out", out)
        assert (code, printed) == (4, "")
        assert said in error
        assert "unrepeatable" not in error
        assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--out", "policy.toml", "--target-fpr", "0.1", "--target-recall", "0.9"),
        ("--out", "policy.toml", "--target-fpr", "0"),
        ("--out", "policy.toml", "--target-recall", "1"),
        ("--out", "policy.json"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(options: tuple[str, ...]) -> None:
    assert _run("bundle", "--data", "rows.jsonl", *options)[0] == 2
