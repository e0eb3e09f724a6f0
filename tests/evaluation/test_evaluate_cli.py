"""`hazgate evaluate` from a labelled file to a report that asks for nothing and quotes nobody."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hazgate import Bundle, Gate
from hazgate.cli.group import cli
from hazgate.documents.decode import decode
from hazgate_evaluation.report import Report
from tests.support.labelled import own_rows, write_rows
from tests.support.processes import run_python

N_ROWS = 100
# Attributes by which a page asks for something.
_ASKING = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"}


class _Page(HTMLParser):
    """A page's requests and its visible text; every tag must close."""

    _VOID = ("meta", "img", "link", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.text: list[str] = []
        self.images: list[bytes] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self._VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name in _ASKING and value is not None:
                self.asked.append(value)
                if value.startswith("data:image/svg+xml;base64,"):
                    self.images.append(base64.b64decode(value.partition(",")[2], validate=True))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def shown(self) -> str:
        """The text, its white space as a browser shows it."""
        return " ".join(" ".join(self.text).split())


def _evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *(str(argument) for argument in arguments)])


def _report(folder: Path) -> Report:
    problems: list[str] = []
    report = decode(Report, json.loads((folder / "report.json").read_bytes()), problems)
    assert problems == []
    assert report is not None
    return report


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "own <rows>.jsonl", own_rows(N_ROWS))


@pytest.fixture(scope="module")
def folder(mini_bundle: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of both variants of the small model."""
    out = tmp_path_factory.mktemp("report") / "new" / "out"
    variants = ("--variant", "fp32", "--variant", "int8")
    result = _evaluate(
        mini_bundle, "--data", data, "--report", out, *variants, "--mutation-texts", "8"
    )
    assert result.exit_code == 0, result.stderr
    assert str(out / "report.html") in result.stdout
    assert f"{N_ROWS}/{N_ROWS}" in result.stderr
    return out


def test_the_report_is_two_files_and_nothing_half_written(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]


def test_the_report_says_what_was_judged_by_what(
    folder: Path, mini_bundle: Path, data: Path
) -> None:
    report = _report(folder)
    digest = Bundle.open(mini_bundle).digest
    assert report.schema_version == 1
    assert [(s.bundle, s.digest, s.variant, s.provider) for s in report.systems] == [
        ("mini", digest, "fp32", "CPUExecutionProvider"),
        ("mini", digest, "int8", "CPUExecutionProvider"),
    ]
    assert report.data.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    assert (report.data.n_rows, report.data.n_rows_in_file) == (N_ROWS, N_ROWS)
    assert report.command.startswith("hazgate evaluate ")
    assert "--variant fp32 --variant int8 --mutation-texts 8" in report.command
    page = _Page((folder / "report.html").read_text(encoding="utf-8")).shown
    for fact in (digest, report.data.sha256, report.created, "own <rows>.jsonl", "McNemar"):
        assert fact in page


def test_the_reports_figures_are_those_of_the_gates_own_verdicts(
    folder: Path, mini_bundle: Path
) -> None:
    rows = own_rows(N_ROWS)
    verdicts = Gate.open(mini_bundle).check_many([row["text"] for row in rows], all_levels=True)
    pairs = [(r, v) for r, v in zip(rows, verdicts, strict=True) if r["level1_ok"]]
    unsafe = [v for r, v in pairs if r["level1"] == "unsafe"]
    safe = [v for r, v in pairs if r["level1"] == "safe"]
    named = [(r, v) for r, v in zip(rows, verdicts, strict=True) if r["level2"]]
    first, second = _report(folder).systems
    assert first.level1.n_unsafe == len(unsafe)
    assert first.level1.flags.recall is not None
    assert first.level1.flags.recall.value == pytest.approx(
        sum(v.flagged for v in unsafe) / len(unsafe)
    )
    assert first.level1.flags.false_positive_rate is not None
    assert first.level1.flags.false_positive_rate.value == pytest.approx(
        sum(v.flagged for v in safe) / len(safe)
    )
    assert first.level2 is not None
    assert first.level2.accuracy is not None
    assert first.level2.accuracy.value == pytest.approx(
        sum(v.hazard == r["level2"] for r, v in named) / len(named)
    )
    assert first.cascade is not None
    assert second.threshold == first.threshold


def test_the_page_asks_for_nothing_from_anywhere(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = _Page(html)
    assert len(page.images) >= 5
    assert all(asked.startswith(("#", "data:image/svg+xml;base64,")) for asked in page.asked)
    anchors = {asked[1:] for asked in page.asked if asked.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]+)"', html))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "http" not in html.replace("http-equiv", "")
    assert "default-src 'none'" in html
    assert "url(" not in html
    for image in page.images:
        svg = image.decode()
        # A heat map is a picture in the picture.
        assert set(re.findall(r'href="(#|data:image/png;|.)', svg)) <= {"#", "data:image/png;"}
        assert set(re.findall(r"url\((.)", svg)) <= {"#"}


def test_no_text_of_a_row_is_in_a_report_unless_it_is_asked_for(
    folder: Path, mini_bundle: Path, data: Path, tmp_path: Path
) -> None:
    texts = [row["text"] for row in own_rows(N_ROWS)]
    page = _Page((folder / "report.html").read_text(encoding="utf-8")).shown
    written = (folder / "report.json").read_text(encoding="utf-8")
    assert _report(folder).texts is None
    for text in texts:
        assert " ".join(text.split()) not in page
        assert json.dumps(text)[1:-1] not in written
    out = tmp_path / "out"
    options = ("--mutation-texts", "0", "--include-texts", "--texts", "60")
    result = _evaluate(mini_bundle, "--data", data, "--report", out, *options)
    assert result.exit_code == 0, result.stderr
    report = _report(out)
    named = report.label_errors.level1 + report.label_errors.level2
    assert named
    assert report.texts is not None
    assert set(report.texts) == {str(suspect.row) for suspect in named}
    page = _Page((out / "report.html").read_text(encoding="utf-8")).shown
    for number, text in report.texts.items():
        assert text == texts[int(number) - 1]
        assert " ".join(text.split()) in page
    assert report.robustness is None
    assert report.data.n_rows == 60


def test_a_text_of_markup_is_shown_and_not_obeyed(tiny_bundle: Path, tmp_path: Path) -> None:
    hostile = '<script src="//evil.example/x.js"></script><img src=x onerror=alert(1)>'
    rows = [
        {"text": f"{hostile} {i}", "level1": level1, "level2": None, "source": hostile}
        for i in range(40)
        for level1 in ("safe", "unsafe")
    ]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    out = tmp_path / "out"
    options = ("--include-texts", "--mutation-texts", "0")
    result = _evaluate(tiny_bundle, "--data", data, "--report", out, *options)
    assert result.exit_code == 0, result.stderr
    page = _Page((out / "report.html").read_text(encoding="utf-8"))
    assert hostile in page.shown
    assert "script" not in page.tags
    assert all(asked.startswith(("#", "data:")) for asked in page.asked)


def test_another_bundle_is_compared_on_the_same_texts(
    mini_bundle: Path, tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    against = ("--against", tiny_bundle, "--against-variant", "fp32")
    options = ("--variant", "fp32", *against, "--mutation-texts", "0")
    result = _evaluate(
        mini_bundle, "--data", data, "--report", tmp_path, "--threshold", "0.6", *options
    )
    assert result.exit_code == 0, result.stderr
    report = _report(tmp_path)
    assert [(s.bundle, s.variant, s.threshold) for s in report.systems] == [
        ("mini", "fp32", 0.6),
        ("tiny", "fp32", 0.6),
    ]
    (comparison,) = report.comparisons
    # Random weights are no match for trained ones.
    assert comparison.level1.n_only_first_right > comparison.level1.n_only_second_right
    assert comparison.level1.p_value < 0.01
    assert len(comparison.changed) == comparison.n_flags_changed + comparison.n_hazards_changed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--threshold", "1"), "between 0 and 1"),
        (("--threshold", "nan"), "between 0 and 1"),
        (("--against-variant", "int8"), "needs --against"),
        (("--variant", "fp32", "--variant", "fp32"), "given twice"),
        (("--texts", "0"), "--texts"),
    ],
)
def test_wrong_usage_exits_with_2(
    tiny_bundle: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = _evaluate(tiny_bundle, "--data", "x.jsonl", "--report", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_variant_that_a_bundle_does_not_have_exits_with_3(
    tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    result = _evaluate(tiny_bundle, "--data", data, "--report", tmp_path, "--variant", "int4")
    assert result.exit_code == 3
    assert "no variant 'int4'" in result.stderr


def test_bad_rows_and_one_class_exit_with_4_and_leave_no_report(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    bad = {"text": "unrepeatable", "level1": "toxic", "level2": None}
    one_class = {"text": "unrepeatable", "level1": "safe", "level2": None}
    for rows, said in (([bad], "unknown labels in level1"), ([one_class], "both classes")):
        data = write_rows(tmp_path / "rows.jsonl", rows)
        result = _evaluate(tiny_bundle, "--data", data, "--report", out)
        assert result.exit_code == 4
        assert said in result.stderr
        assert "unrepeatable" not in result.stderr
        assert list(out.iterdir()) == []


def test_a_report_folder_that_is_a_file_exits_with_4_before_the_work(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out"
    file.touch()
    result = _evaluate(tiny_bundle, "--data", tmp_path / "none.jsonl", "--report", file)
    assert result.exit_code == 4
    assert "cannot be a folder of reports" in result.stderr


def test_help_has_an_example() -> None:
    result = _evaluate("--help")
    assert result.exit_code == 0
    assert "hazgate evaluate build/mini" in result.stdout


def test_evaluate_needs_neither_torch_nor_transformers(tiny_bundle: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", own_rows(40))
    code = (
        "import sys\n"
        "from hazgate.cli.group import cli\n"
        "cli(standalone_mode=False)\n"
        "sys.exit(', '.join({'torch', 'transformers', 'onnx'} & set(sys.modules)) or 0)"
    )
    done = run_python(
        *("-c", code, "evaluate", tiny_bundle, "--data", data, "--report", tmp_path / "out"),
        *("--mutation-texts", "0", "--stream-texts", "0"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_line_loads_no_library_of_evaluation() -> None:
    code = (
        "import hazgate.cli, sys\n"
        "heavy = {'sklearn', 'scipy', 'matplotlib', 'jinja2', 'hazgate_evaluation'}\n"
        "print(heavy & set(sys.modules))"
    )
    assert run_python("-c", code).stdout == "set()\n"
