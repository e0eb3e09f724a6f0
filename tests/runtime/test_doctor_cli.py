"""`hazgate doctor`, `warm` and `buckets` as their users run them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hazgate.cli.group import cli
from tests.support.damage import flip_byte


def _hazgate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_fit_host_passes_every_check(tiny_bundle: Path) -> None:
    done = _hazgate("doctor", tiny_bundle, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["healthy"] is True
    names = [check["name"] for check in said["checks"]]
    assert names[:4] == ["bundle", "onnxruntime", "distributions", "AMD GPUs"]
    assert names[-4:] == [
        *("level1 opens", "level1 canaries", "level2 opens", "level2 canaries"),
    ]
    assert "level2 canaries" in _hazgate("doctor", tiny_bundle, "--providers", "cpu").stdout


def test_a_problem_exits_with_3_and_is_named(bundle_copy: Path, tiny_bundle: Path) -> None:
    flip_byte(bundle_copy / "tokenizer.json")
    done = _hazgate("doctor", bundle_copy)
    assert done.exit_code == 3
    assert "tokenizer.json" in " ".join(done.stdout.split())
    absent = _hazgate("doctor", tiny_bundle, "--providers", "migraphx", "--json")
    assert absent.exit_code == 3
    (failed,) = (c for c in json.loads(absent.stdout)["checks"] if c["status"] == "fail")
    assert "no AMD GPU" in failed["found"]
    unknown = _hazgate("doctor", tiny_bundle, "--variant", "int4", "--json")
    assert unknown.exit_code == 3


def test_a_bundle_without_canaries_is_served_with_a_warning(bundle_copy: Path) -> None:
    file = bundle_copy / "bundle.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    del data["files"][data.pop("canaries")]
    (bundle_copy / "canaries.json").unlink()
    file.write_text(json.dumps(data), encoding="utf-8")
    done = _hazgate("doctor", bundle_copy, "--json")
    assert done.exit_code == 0
    warned = [c["name"] for c in json.loads(done.stdout)["checks"] if c["status"] == "warn"]
    assert warned == ["level1 canaries", "level2 canaries"]


def test_a_provider_that_compiles_nothing_needs_no_warming(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    done = _hazgate("warm", tiny_bundle, "--providers", "cpu", "--programs", tmp_path)
    assert done.exit_code == 0
    assert "nothing to warm" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_buckets_are_planned_from_a_file_of_lengths(tmp_path: Path) -> None:
    file = tmp_path / "lengths.jsonl"
    file.write_text('10\n{"tokens": 20}\n\n100\n', encoding="utf-8")
    done = _hazgate("buckets", "--from", file, "--count", "2", "--max-tokens", "128")
    assert json.loads(done.stdout) == {"tokens": [24, 128], "padding_share": 0.2614}


def test_all_lines_that_are_no_lengths_are_named_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "lengths.jsonl"
    file.write_text('10\n"secret"\n-1\n{"tokens": true}\n', encoding="utf-8")
    done = _hazgate("buckets", "--from", file)
    assert done.exit_code == 4
    for number in (2, 3, 4):
        assert f"line {number}" in done.stderr
    assert "secret" not in done.output


@pytest.mark.parametrize("command", ["doctor", "warm", "buckets"])
def test_help_has_an_example(command: str) -> None:
    assert f"hazgate {command}" in _hazgate(command, "--help").stdout
