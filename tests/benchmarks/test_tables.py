import json
from pathlib import Path

import pytest

from benchmarks.harness.errors import ResultsError
from benchmarks.harness.store import SCHEMA_VERSION, load, save
from benchmarks.speed.first_screen import first_screen
from benchmarks.speed.plot import draw_latency
from benchmarks.speed.results import SpeedResults
from benchmarks.speed.tables import full_table, parity_summary, rows_of, speed_summary
from hazgate_export.bundle.report import parity_table


def test_rows_summarise_rounds(comparison: SpeedResults) -> None:
    rows = {(row.workload.name, row.system.name): row for row in rows_of(comparison)}
    row = rows["8-tokens", "onnx-int8"]
    assert row.p50_ms is not None
    assert (row.p50_ms.least, row.p50_ms.median, row.p50_ms.greatest) == (1.0, 1.0, 3.0)
    # Rounds of the baseline: 4, 6, 5 ms; of the reference: 8, 10, 12 ms.
    assert row.vs_baseline.median == 4.0
    assert row.vs_reference.median == 8.0
    assert row.texts_per_s.median == pytest.approx(1000.0)


def test_bulk_is_compared_by_its_total_time(comparison: SpeedResults) -> None:
    rows = {(row.workload.name, row.system.name): row for row in rows_of(comparison)}
    row = rows["bulk", "onnx-int8"]
    assert row.p50_ms is None
    assert row.vs_baseline.median == 2.0
    assert row.texts_per_s.median == pytest.approx(10.0)


def test_full_table_has_a_row_of_everything_for_each_workload_and_system(
    comparison: SpeedResults,
) -> None:
    lines = full_table(comparison).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 4 * 3
    assert {row.count("|") for row in rows} == {14}
    assert (
        "| 8 tokens | hazgate int8 | 1.00 [1.00–3.00] | 2.00 [2.00–6.00] | 4.00 [4.00–12.0] | "
        "4.00× | 8.00× | 1000 | 180 | 70 | 0.5 | 4.7e-02 | 1 of 10 |"
    ) in rows


def test_summary_states_conditions_and_caveat(comparison: SpeedResults) -> None:
    summary = speed_summary(comparison)
    for stated in ("Example CPU", "2 threads", "torch 2.13.0", "3 interleaved", "2026-01-02"):
        assert stated in summary
    assert comparison.header.command in summary
    assert "| hazgate int8 | 1.00 (4.00×) | 4.00 (2.00×) |" in summary
    assert summary.endswith("with the command above.")


def test_the_first_screen_has_a_row_per_system(comparison: SpeedResults) -> None:
    lines = first_screen(comparison).splitlines()
    assert len(lines) == 2 + len(comparison.systems)
    assert lines[-1] == "| hazgate int8 | 2.0 | 5.0× | 10 | 180 | 1 of 10 |"


def test_parity_is_the_exporters_own_table(comparison: SpeedResults) -> None:
    assert parity_summary(comparison) == parity_table(comparison.parity)
    assert "| level1 | int8 | 3.0e-02 |" in parity_summary(comparison)


def test_plot_is_written_and_the_same_each_time(comparison: SpeedResults, tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    draw_latency(comparison, first)
    draw_latency(comparison, second)
    assert first.read_bytes().startswith(b"\x89PNG")
    assert first.read_bytes() == second.read_bytes()


def test_results_survive_saving_and_loading(comparison: SpeedResults, tmp_path: Path) -> None:
    file = tmp_path / "new" / "again.json"
    save(comparison, file)
    assert load(SpeedResults, file) == comparison


def test_missing_results_say_what_writes_them(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="make bench"):
        load(SpeedResults, tmp_path / "none.json")


def test_wrong_results_are_refused_with_every_problem(
    comparison: SpeedResults, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.json"
    save(comparison, file)
    data = json.loads(file.read_text(encoding="utf-8"))
    data["header"]["threads"], data["speed"] = "two", 1
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(
        ResultsError, match=r"(?s)\$\.speed: unknown.*\$\.header\.threads: expected"
    ):
        load(SpeedResults, file)


def test_results_of_another_schema_are_refused(comparison: SpeedResults, tmp_path: Path) -> None:
    file = tmp_path / "newer.json"
    save(comparison, file)
    data = json.loads(file.read_text(encoding="utf-8"))
    data["header"]["schema_version"] = SCHEMA_VERSION + 1
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ResultsError, match="schema_version"):
        load(SpeedResults, file)
