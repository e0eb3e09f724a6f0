"""Levels beside a cascade are measured by the labels in the fields of their names."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from hazgate import Classifier
from hazgate.cli.group import cli
from hazgate_evaluation.estimates import Resampling
from hazgate_evaluation.label_figures import label_matrix, labelled_level_figures
from tests.support.labelled import write_rows
from tests.support.lone import write_intent
from tests.support.panel_bundle import PII, TOPIC, write_panel

# "morning" is unsafe, "world" an injection and of maths, "good" has an e-mail address and a name.
ROWS: list[dict[str, Any]] = [
    {"text": "or morning", "level1": "unsafe", "injection": "none", "pii": [], "topic": "chat"},
    {"text": "or", "level1": "safe", "injection": "injection", "pii": ["phone"], "topic": "code"},
    {"text": "world", "level1": "safe", "injection": "injection", "pii": None, "topic": "maths"},
    {"text": "or world", "level1": "safe", "injection": "none", "topic": None},
    {"text": "good", "level1": "safe", "pii": ["name", "email"]},
    {"text": "or good", "level1": "safe", "pii": []},
    {"text": "good or", "level1": "safe", "pii": ["email"], "group": "one"},
]
ROWS = [{"level2": None, **row} for row in ROWS]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))


def _evaluate(bundle: Path, folder: Path, rows: Sequence[Any], *options: str) -> Result:
    data = write_rows(folder / "rows.jsonl", rows)
    parts = ("--mutation-texts", "0", "--stream-texts", "0") if "--level" not in options else ()
    words = ["evaluate", bundle, "--data", data, "--report", folder, *parts, *options]
    return CliRunner().invoke(cli, [str(word) for word in words])


def _report(folder: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def _values(figures: Any, *names: str) -> list[float | None]:  # noqa: ANN401 - JSON
    return [None if figures[name] is None else figures[name]["value"] for name in names]


def test_a_report_has_a_section_for_each_level_that_rows_label(
    bundle: Path, tmp_path: Path
) -> None:
    done = _evaluate(bundle, tmp_path, ROWS)
    assert done.exit_code == 0, done.stderr
    (system,) = _report(tmp_path)["systems"]
    assert list(system["levels"]) == ["injection", "pii", "topic"]
    injection, pii, topic = system["levels"].values()
    assert [level["n_rows"] for level in (injection, pii, topic)] == [4, 5, 3]
    assert _values(injection["labels"]["injection"], "precision", "recall", "f1") == [0.5] * 3
    assert _values(injection, "accuracy", "macro_f1", "false_alarms") == [0.5, 0.5, None]
    assert list(pii["labels"]) == list(PII)
    assert _values(pii["labels"]["email"], "precision", "recall") == [pytest.approx(2 / 3), 1]
    assert _values(pii["labels"]["phone"], "precision", "recall", "f1") == [None, 0, 0]
    # Of two rows without a label, one is said to have some.
    assert _values(pii, "accuracy", "false_alarms") == [0.4, 0.5]
    assert list(topic["labels"]) == list(TOPIC)
    assert _values(topic, "accuracy") == [pytest.approx(2 / 3)]
    low, high = pii["macro_f1"]["low"], pii["macro_f1"]["high"]
    assert 0 <= low <= pii["macro_f1"]["value"] <= high <= 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Levels beside the cascade" in page
    assert "pii, panel int8" in page


def test_rows_of_another_level_need_no_labels_of_the_cascade(bundle: Path, tmp_path: Path) -> None:
    others = [{"text": "good", "pii": ["email"], "group": "one"}, {"text": "or", "pii": []}]
    done = _evaluate(bundle, tmp_path, [*ROWS, *others])
    assert done.exit_code == 0, done.stderr
    report = _report(tmp_path)
    assert (report["data"]["n_rows"], report["data"]["n_level1"]) == (9, 7)
    assert report["systems"][0]["levels"]["pii"]["n_rows"] == 7
    done = _evaluate(bundle, tmp_path, [*ROWS, {"text": "good", "pii": None}])
    assert done.exit_code == 4
    assert "line 8: level1 is missing" in done.stderr


def test_rows_without_labels_of_other_levels_give_no_section(bundle: Path, tmp_path: Path) -> None:
    rows = [{name: row[name] for name in ("text", "level1", "level2")} for row in ROWS]
    assert _evaluate(bundle, tmp_path, rows).exit_code == 0
    assert _report(tmp_path)["systems"][0]["levels"] == {}
    assert "Levels beside" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_level_by_its_name_needs_no_other_label(bundle: Path, tmp_path: Path) -> None:
    everything = tmp_path / "all"
    everything.mkdir()
    assert _evaluate(bundle, everything, ROWS).exit_code == 0
    whole = _report(everything)["systems"][0]["levels"]
    for level in ("injection", "pii", "topic"):
        rows = [{key: row[key] for key in ("text", level) if key in row} for row in ROWS]
        done = _evaluate(bundle, tmp_path, rows, "--level", level)
        assert done.exit_code == 0, done.stderr
        report = _report(tmp_path)
        assert (report["n_rows"], report["n_rows_in_file"]) == (whole[level]["n_rows"], 7)
        (system,) = report["systems"]
        assert (system["level"], system["model"]["variant"]) == (level, "int8")
        values = ("macro_f1", "accuracy", "false_alarms")
        assert _values(system["figures"], *values) == _values(whole[level], *values)
    assert "| int8 | maths | 1 | 1.000 (1.000–1.000) |" in done.stdout
    assert "| int8 | 3 | " in done.stdout


def test_a_level_of_the_cascade_and_one_alone_are_measured_by_name(
    bundle: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    done = _evaluate(bundle, tmp_path, ROWS, "--level", "level1")
    assert done.exit_code == 0, done.stderr
    assert "| int8 | unsafe | 1 | 1.000" in done.stdout
    intent = write_intent(tiny_bundle, tmp_path)
    level = Classifier.open(intent)
    rows = [{"text": "or", level.level: level.labels[0]}]
    done = _evaluate(intent, tmp_path, rows, "--level", level.level)
    assert done.exit_code == 0, done.stderr
    assert _report(tmp_path)["systems"][0]["figures"]["n_rows"] == 1


def test_a_field_that_no_row_has_is_named(bundle: Path, tmp_path: Path) -> None:
    rows = [{"text": "secret", "pii": None}, {"text": "or", "injection": "none"}]
    done = _evaluate(bundle, tmp_path, rows, "--level", "pii")
    assert done.exit_code == 4
    said = " ".join(done.stderr.split())
    assert "none of the 2 rows of" in said
    assert "has the field 'pii', which says a list of labels of that level: email, phone" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("pii", ["mail"], "pii: expected a list of email, phone, name, or null"),
        ("pii", "email", "pii: expected a list of email, phone, name, or null"),
        ("pii", [["email"]], "pii: expected a list of email, phone, name, or null"),
        ("pii", ["email", "email"], "pii: expected each label once"),
        ("topic", "law", "topic: expected one of chat, code, maths, or null"),
        ("topic", ["chat"], "topic: expected one of chat, code, maths, or null"),
    ],
)
def test_labels_that_a_level_does_not_have_are_named_by_line(
    bundle: Path, tmp_path: Path, field: str, value: object, problem: str
) -> None:
    rows = [*ROWS[:2], {**ROWS[2], field: value}]
    for options in ((), ("--level", field)):
        done = _evaluate(bundle, tmp_path, rows, *options)
        assert done.exit_code == 4
        assert f"line 3: {problem}" in done.stderr


_LABELS = ("a", "b", "c")
_HELD = st.lists(st.sets(st.sampled_from(_LABELS)), min_size=6, max_size=6)


@settings(max_examples=40)
@given(_HELD, _HELD)
def test_figures_are_scikit_learns(truth: list[set[str]], given_: list[set[str]]) -> None:
    wanted, got = (label_matrix([tuple(row) for row in rows], _LABELS) for rows in (truth, given_))
    figures = labelled_level_figures(
        wanted, got, _LABELS, Resampling(group=np.arange(6), n_resamples=20)
    )
    precision, recall, f1, n_rows = precision_recall_fscore_support(
        wanted, got, average=None, zero_division=0
    )
    for i, label in enumerate(_LABELS):
        mine = figures.labels[label]
        assert mine.n_rows == n_rows[i]
        for value, one in zip((precision[i], recall[i], f1[i]),
                              (mine.precision, mine.recall, mine.f1), strict=True):  # fmt: skip
            assert (0 if one is None else one.value) == pytest.approx(value)
    assert figures.accuracy is not None
    assert figures.accuracy.value == pytest.approx(accuracy_score(wanted, got))
    occurs = wanted.any(axis=0)
    if not occurs.any():
        assert figures.macro_f1 is None
        return
    assert figures.macro_f1 is not None
    assert figures.macro_f1.value == pytest.approx(f1[occurs].mean())
