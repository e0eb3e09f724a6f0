"""`hazgate plan` as a person runs it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hazgate.cli.group import cli
from hazgate_scale.capacity.times import ServiceTimes
from tests.support.planning import times_document
from tests.support.processes import run_python

QUICK = ("--qps", "300", "--p99-ms", "60", "--requests", "2000")


@pytest.fixture
def lengths(tmp_path: Path) -> Path:
    file = tmp_path / "lengths.jsonl"
    file.write_text('12\n{"tokens": 30}\n\n45\n90\n', encoding="utf-8")
    return file


def _plan(lengths: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", "--lengths", str(lengths), *arguments])


def test_a_plan_is_tables_with_every_assumption_and_its_origin(lengths: Path) -> None:
    result = _plan(lengths, *QUICK, "--survive", "2")
    assert result.exit_code == 0, result.output
    for words in ("workers", "cores", "cost per million texts", "measured", "given", "assumed"):
        assert words in result.output
    rows = [line.split("│")[1:4] for line in result.output.splitlines() if line.count("│") == 4]
    origins = {name.strip(): origin.strip() for name, _, origin in rows}
    assert origins["qps"] == origins["survive"] == "given"
    assert origins["price-per-core-hour"] == origins["flagged-share"] == "assumed"
    assert origins["cold start"] == "measured"


def test_a_plan_as_json_has_the_same_for_programs(lengths: Path) -> None:
    result = _plan(lengths, *QUICK, "--json", "--variant", "fp32", "--model", "mlcommons-standin")
    # The bound is one that this variant misses; the reason is one line.
    assert result.exit_code == 4
    result = _plan(lengths, *QUICK, "--json", "--variant", "fp32")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["plan"]["variant"] == "fp32"
    assert document["plan"]["n_workers"] == document["plan"]["n_needed"] + 2
    assert document["plan"]["needed"]["p99_ms"] <= 60
    assert {one["origin"] for one in document["assumptions"]} == {"measured", "given", "assumed"}


def test_service_times_of_a_file_are_taken_and_a_gpu_needs_its_price(
    lengths: Path, tmp_path: Path
) -> None:
    file = tmp_path / "times.json"
    document = times_document()
    document.update(unit="gpu", units_per_worker=1)
    file.write_text(json.dumps(document), encoding="utf-8")
    refused = _plan(lengths, *QUICK, "--times", str(file))
    assert refused.exit_code == 2
    assert "--price-per-gpu-hour" in refused.output
    result = _plan(lengths, *QUICK, "--times", str(file), "--price-per-gpu-hour", "2")
    assert result.exit_code == 0, result.output
    assert "gpus" in result.output


def test_corrupt_service_times_are_told_with_all_their_problems(
    lengths: Path, tmp_path: Path
) -> None:
    file = tmp_path / "times.json"
    file.write_text('{"schema_version": 1, "model": 3, "variants": []}', encoding="utf-8")
    result = _plan(lengths, *QUICK, "--times", str(file))
    assert result.exit_code == 4
    for path in ("$.model", "$.variants", "$.windows", "$.unit", "$.machine"):
        assert path in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--qps", "0", "--p99-ms", "50"],
        ["--qps", "-3", "--p99-ms", "50"],
        ["--qps", "5", "--p99-ms", "0"],
        [*QUICK, "--flagged-share", "1.5"],
        [*QUICK, "--burst-factor", "0.5"],
        [*QUICK, "--model", "mini", "--measure", "build/none"],
        [*QUICK, "--threads", "1"],
        [*QUICK, "--save-times", "times.json"],
    ],
    ids=["no rate", "negative", "no bound", "share", "bursts", "two sources", "threads", "save"],
)
def test_what_no_fleet_can_be_asked_is_a_usage_error(lengths: Path, arguments: list[str]) -> None:
    assert _plan(lengths, *arguments).exit_code == 2


def test_a_file_without_lengths_is_an_input_error(tmp_path: Path) -> None:
    empty = tmp_path / "lengths.jsonl"
    empty.write_text("\n", encoding="utf-8")
    result = _plan(empty, *QUICK)
    assert result.exit_code == 4
    assert "no lengths" in result.output


def test_lines_that_are_no_lengths_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "lengths.jsonl"
    wrong.write_text("12\nx\n-1\n", encoding="utf-8")
    result = _plan(wrong, *QUICK)
    assert result.exit_code == 4
    assert "line 2" in result.output
    assert "line 3" in result.output


def test_a_bound_below_the_texts_own_time_is_refused_with_the_reason(lengths: Path) -> None:
    result = _plan(lengths, "--qps", "300", "--p99-ms", "1", "--requests", "2000")
    assert result.exit_code == 4
    assert "no number of workers" in result.output


def test_wider_windows_than_were_measured_are_refused(lengths: Path) -> None:
    with lengths.open("a") as file:
        file.write("500\n")
    result = _plan(lengths, *QUICK, "--window-tokens", "512")
    assert result.exit_code == 4
    assert "the longest measured row has 256" in result.output
    assert _plan(lengths, *QUICK, "--window-tokens", "20").exit_code == 4


def test_a_bundle_is_measured_and_its_times_can_be_planned_with_again(
    tiny_bundle: Path, lengths: Path, tmp_path: Path
) -> None:
    file = tmp_path / "times.json"
    arguments = ["--qps", "50", "--p99-ms", "5000", "--requests", "1000", "--json"]
    measured = _plan(
        lengths,
        *arguments,
        "--measure",
        str(tiny_bundle),
        "--threads",
        "1",
        "--save-times",
        str(file),
    )
    assert measured.exit_code == 0, measured.output
    times = ServiceTimes.load(file)
    assert (times.model, times.unit, times.units_per_worker) == ("tiny", "core", 1)
    again = _plan(lengths, *arguments, "--times", str(file))
    assert json.loads(again.stdout)["plan"] == json.loads(measured.stdout)["plan"]


def test_without_simpy_the_command_says_what_to_install(lengths: Path) -> None:
    code = (
        "import sys; sys.modules['simpy'] = None\n"
        f"from hazgate.cli.group import cli; cli(['plan', '--lengths', {str(lengths)!r}, "
        "'--qps', '5', '--p99-ms', '50'])"
    )
    done = run_python("-c", code)
    assert done.returncode == 1
    assert "pip install 'hazgate-scale[plan]'" in done.stderr


def test_the_command_line_loads_no_simulation_before_it_is_asked_for() -> None:
    code = "import sys, hazgate.cli; sys.exit('simpy' in sys.modules)"
    assert run_python("-c", code).returncode == 0
