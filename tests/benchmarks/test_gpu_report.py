"""The report of a GPU host, made on the CPU with a real bundle."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness.store import load
from benchmarks.quality.gpu_report import GpuReport, main, merged_report


@pytest.fixture(scope="module")
def written(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "amd-report"
    arguments = [str(tiny_bundle), "--providers", "cpu", "--calls", "2", "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return out


def test_the_report_has_every_section(written: Path) -> None:
    report = load(GpuReport, written.with_suffix(".json"))
    assert report.provider == "CPUExecutionProvider"
    assert report.diagnosis.healthy
    assert {(item.rows, item.tokens) for item in report.latencies} == {
        (rows, tokens) for rows in (1, 8) for tokens in (16, 32)
    }
    assert [item.callers for item in report.concurrency] == [1, 2, 4, 8]
    assert report.beside_cpu.n_texts > 0


def test_the_page_has_the_report_and_names_no_path(written: Path, tiny_bundle: Path) -> None:
    page = written.with_suffix(".md").read_text(encoding="utf-8")
    assert page.startswith("# tiny")
    assert "| level1 canaries | ok |" in page
    assert str(tiny_bundle.parent) not in page


def test_a_received_report_is_merged_into_the_page(written: Path, tmp_path: Path) -> None:
    file = tmp_path / "amd-report.json"
    assert "No report" in merged_report(file)
    file.write_bytes(written.with_suffix(".json").read_bytes())
    merged = merged_report(file)
    assert "| rows × tokens |" in merged
    assert "# tiny" not in merged


def test_a_missing_gpu_leaves_no_report(tiny_bundle: Path, tmp_path: Path) -> None:
    arguments = [str(tiny_bundle), "--providers", "migraphx", "--out", str(tmp_path / "report")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "migraphx" in result.output.lower()
    assert list(tmp_path.iterdir()) == []
