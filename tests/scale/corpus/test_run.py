"""`hazgate corpus` from its arguments to `_SUCCESS`: what it refuses, and a run on a local Ray."""

import json
import re
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from hazgate import Gate
from hazgate.cli.group import cli
from hazgate.engine.options import EngineOptions
from tests.support.corpora import (
    FLAGGED,
    PASSED,
    dead_letters_of,
    line_positions,
    parts_of,
    write_jsonl,
    write_parquet,
)
from tests.support.policies import POLICY
from tests.support.processes import run


def _corpus(bundle: Path, inputs: Path | str, output: Path, *arguments: str) -> Result:
    words = ["corpus", str(bundle), "--input", str(inputs), "--output", str(output), *arguments]
    return CliRunner().invoke(cli, words)


@pytest.fixture
def begun(tiny_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A file without rows and the output of a run over it, which needs no Ray."""
    file = tmp_path / "empty.jsonl"
    file.touch()
    result = _corpus(tiny_bundle, file, tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    return file, tmp_path / "out"


def test_a_run_without_rows_is_complete(begun: tuple[Path, Path]) -> None:
    _, output = begun
    assert {path.name for path in output.iterdir()} == {
        "_manifest.json",
        "_summary.json",
        "_SUCCESS",
    }
    assert json.loads((output / "_summary.json").read_text())["tally"]["rows_in"] == 0


def test_other_arguments_are_refused_with_every_difference(
    tiny_bundle: Path, begun: tuple[Path, Path], tmp_path: Path
) -> None:
    file, output = begun
    more = tmp_path / "more.jsonl"
    more.touch()
    arguments = ["--input", str(more), "--mode", "keep", "--seed", "3", "--threshold", "0.7"]
    result = _corpus(tiny_bundle, file, output, *arguments)
    assert result.exit_code == 6
    for words in (
        "mode: annotate then, keep now",
        "seed: 0 then, 3 now",
        "threshold: None then, 0.7 now",
        "judge.threshold: 0.5 then, 0.7 now",
        f"input file://{more}: new",
    ):
        assert words in result.stderr


def test_a_changed_input_and_one_that_is_gone_are_refused(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (folder / name).touch()
    assert _corpus(tiny_bundle, folder, tmp_path / "out").exit_code == 0
    (folder / "a.jsonl").write_text("\n")
    (folder / "b.jsonl").unlink()
    result = _corpus(tiny_bundle, folder, tmp_path / "out")
    assert result.exit_code == 6
    assert re.search(r"a\.jsonl: changed \(0 bytes then, 1 now\)", result.stderr)
    assert "b.jsonl: gone" in result.stderr


def test_the_same_arguments_again_change_nothing(
    tiny_bundle: Path, begun: tuple[Path, Path]
) -> None:
    file, output = begun
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    # Where the engines live bears on nothing that comes out.
    result = _corpus(tiny_bundle, file, output, "--actors", "3", "--threads", "2")
    assert result.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before


def test_an_output_that_exists_and_is_no_run_is_refused_and_left_alone(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    result = _corpus(tiny_bundle, file, output)
    assert result.exit_code == 6
    assert "exists and is no run of hazgate corpus" in result.stderr
    assert [path.name for path in output.iterdir()] == ["thesis.txt"]
    (output / "_manifest.json").write_text("{}")
    assert "is not the manifest of a run" in _corpus(tiny_bundle, file, output).stderr


def test_parts_that_no_run_wrote_are_refused(tiny_bundle: Path, begun: tuple[Path, Path]) -> None:
    file, output = begun
    (output / "parts").mkdir()
    (output / "parts" / "copy of 1.parquet").touch()
    result = _corpus(tiny_bundle, file, output)
    assert result.exit_code == 6
    assert "copy of 1.parquet" in result.stderr


def test_an_output_below_an_input_folder_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    result = _corpus(tiny_bundle, tmp_path, tmp_path / "out")
    assert result.exit_code == 4
    assert "holds the output" in result.stderr


def test_bad_files_are_refused_together_before_the_work_begins(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_parquet(folder / "a.parquet", {"prompt": ["a"]})
    (folder / "b.parquet").write_bytes(b"no Parquet")
    result = _corpus(tiny_bundle, folder, tmp_path / "out")
    assert result.exit_code == 4
    assert "no column text; its columns: prompt" in result.stderr
    assert "b.parquet: cannot be read" in result.stderr
    assert not (tmp_path / "out").exists()


def test_bad_files_that_are_skipped_are_dead_letters(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no Parquet")
    result = _corpus(tiny_bundle, tmp_path / "a.parquet", tmp_path / "out", "--skip-bad-files")
    assert result.exit_code == 0, result.stderr
    (letter,) = dead_letters_of(tmp_path / "out")
    assert letter["error"] == "bad_file"
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert summary["tally"]["errors"] == {"bad_file": 1}
    assert summary["n_bad_files"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threshold", "1"], "between 0 and 1"),
        (["--tenant", "acme"], "--tenant needs a --policy"),
        (["--columns", "id"], "needs an --id-column"),
        (["--id-column", "text"], "are the same"),
        (["--policy", "p.toml", "--threshold", "0.5"], "has its own thresholds"),
    ],
)
def test_arguments_that_contradict_each_other_are_usage_errors(
    arguments: list[str], words: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    result = _corpus(tiny_bundle, tmp_path / "a.jsonl", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_tenant_that_the_policy_does_not_name_is_refused(
    tiny_bundle: Path, begun: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    arguments = ["--policy", str(tmp_path / "policy.toml"), "--tenant", "nobody"]
    result = _corpus(tiny_bundle, begun[0], tmp_path / "new", *arguments)
    assert result.exit_code == 4
    assert "no such tenant" in result.stderr


@pytest.mark.parametrize("uri", ["nosuch://bucket/a.jsonl", "/nowhere/*.parquet"])
def test_an_input_that_cannot_be_found_is_refused(
    uri: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    result = _corpus(tiny_bundle, uri, tmp_path / "out")
    assert result.exit_code == 4
    assert uri in result.stderr


def test_an_output_on_an_unknown_file_system_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    words = ["corpus", str(tiny_bundle), "--input", str(file), "--output", "nosuch://bucket/out"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 6
    assert "nosuch" in result.stderr


def test_a_bundle_that_is_none_is_refused(tmp_path: Path) -> None:
    result = _corpus(tmp_path / "none", tmp_path / "a.jsonl", tmp_path / "out")
    assert result.exit_code == 3


def test_a_run_on_this_machine_judges_every_row_once_and_goes_on_where_it_ended(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    texts = [f"{FLAGGED if i % 3 else PASSED} {i}" for i in range(3000)]
    pad = "x" * 200  # for several shards
    rows: list[object] = [{"id": i, "text": text, "pad": pad} for i, text in enumerate(texts)]
    rows[7] = b"not json"
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    out = tmp_path / "out"
    # Without warnings as errors: Ray warns of its own use of itself.
    command = [sys.executable, "-m", "hazgate", "corpus", str(tiny_bundle), "--input", str(file)]
    command += ["--output", str(out), "--id-column", "id", "--sample", "5", "--columns", "text"]

    first = run(*command)
    assert first.returncode == 0, first.stderr
    found = parts_of(out)
    assert len(list((out / "parts").iterdir())) >= 2
    positions = line_positions(file)
    (dead,) = dead_letters_of(out)
    assert dead["position"] == positions[7]
    assert [row["hazgate_position"] for row in found] == positions[:7] + positions[8:]
    assert [row["text"] for row in found] == texts[:7] + texts[8:]
    some = Gate.open(tiny_bundle, engine=EngineOptions(threads=1)).check_many(
        [row["text"] for row in found[:100]]
    )
    assert [row["hazgate_flagged"] for row in found[:100]] == [v.flagged for v in some]
    summary = json.loads((out / "_summary.json").read_text())
    assert summary["tally"]["rows_in"] == 3000
    assert summary["tally"]["flagged"] == sum(row["hazgate_flagged"] for row in found)
    assert len((out / "_review.jsonl").read_text().splitlines()) == 5
    assert (out / "_SUCCESS").exists()
    assert not (out / "_temporary").exists()
    assert "2999" in first.stdout

    flagged = sum(row["hazgate_flagged"] for row in found)
    assert pq.read_table(out).column("hazgate_flagged").to_pylist().count(True) == flagged
    assert pd.read_parquet(out)["hazgate_flagged"].sum() == flagged
    assert pl.read_parquet(f"{out}/**/*.parquet")["hazgate_flagged"].sum() == flagged
    with duckdb.connect() as database:
        query = f"select count(*) from '{out}/**/*.parquet' where hazgate_flagged"
        assert database.execute(query).fetchall() == [(flagged,)]

    part = out / "parts" / "000001.parquet"
    kept = (out / "parts" / "000000.parquet").stat().st_mtime_ns
    part.unlink()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert parts_of(out) == found
    assert (out / "parts" / "000000.parquet").stat().st_mtime_ns == kept
    resumed = json.loads((out / "_summary.json").read_text())
    assert {**resumed["tally"], "work_s": 0} == {**summary["tally"], "work_s": 0}
