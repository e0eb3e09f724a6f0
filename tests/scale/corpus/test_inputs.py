"""Inputs are found by name, folder, pattern and URI, each once; what is wrong is said at once."""

import gzip
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from hazgate import InputError
from hazgate_scale.corpus.inputs import find_inputs
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.preflight import check_files
from tests.support.corpora import write_jsonl, write_parquet


def _names(*patterns: str | Path) -> list[str]:
    return [file.uri.rpartition("/")[2] for file in find_inputs([str(p) for p in patterns], None)]


def test_files_folders_and_patterns_name_each_file_once(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.parquet", "deep/c.txt.gz", ".hidden.txt", "_SUCCESS", "_tmp/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert _names(tmp_path) == ["a.parquet", "b.jsonl", "c.txt.gz"]
    assert _names(tmp_path / "*.jsonl", tmp_path / "b.jsonl", tmp_path) == _names(tmp_path)
    assert _names(f"file://{tmp_path}/a.parquet") == ["a.parquet"]


def test_formats_and_compressions_go_by_the_end_of_a_name(tmp_path: Path) -> None:
    for name in ("a.jsonl.zst", "b.ndjson", "c.pq", "d.txt.gz"):
        (tmp_path / name).touch()
    found = [(file.format, file.compression) for file in find_inputs([str(tmp_path)], None)]
    assert found == [("jsonl", "zstd"), ("jsonl", None), ("parquet", None), ("text", "gzip")]
    assert {file.format for file in find_inputs([str(tmp_path)], "text")} == {"text"}


def test_other_file_systems_are_read_through_fsspec() -> None:
    with fsspec.open("memory://bucket/x.txt", "wb") as stream:
        stream.write(b"one\n")
    (file,) = find_inputs(["memory://bucket/*.txt"], None)
    assert (file.uri, file.size_bytes) == ("memory:///bucket/x.txt", 4)


def test_a_file_that_changes_has_another_version(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}])
    before = find_inputs([str(file)], None)
    assert find_inputs([str(file)], None) == before
    write_jsonl(file, [{"text": "two"}])
    assert find_inputs([str(file)], None) != before


def test_all_that_cannot_be_found_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").touch()
    patterns = [str(tmp_path / name) for name in ("none.jsonl", "*.parquet", "notes.doc")]
    with pytest.raises(InputError) as caught:
        find_inputs([*patterns, "nosuch://bucket/x"], None)
    message = str(caught.value)
    assert all(pattern in message for pattern in patterns)
    assert "nosuch://bucket/x: cannot be listed" in message
    assert "--format" in message


def test_all_files_that_cannot_be_read_are_named_before_any_is(tmp_path: Path) -> None:
    strings = pa.array(["a"])
    write_parquet(tmp_path / "a-good.parquet", {"text": strings, "n": [1]})
    write_parquet(tmp_path / "missing.parquet", {"body": strings})
    write_parquet(tmp_path / "number.parquet", {"text": [1], "n": [1]})
    write_parquet(tmp_path / "other.parquet", {"text": strings, "n": ["one"]})
    write_parquet(tmp_path / "taken.parquet", {"text": strings, "hazgate_flagged": [True]})
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    write_jsonl(tmp_path / "misnamed.jsonl", [{"prompt": "a"}, {"prompt": "b"}])
    (tmp_path / "array.json").write_bytes(b'[{"text": "a"}]')
    (tmp_path / "list.jsonl").write_bytes(b"id,text\n1,a\n")
    (tmp_path / "wide.txt").write_bytes("text\n".encode("utf-16"))
    (tmp_path / "no.jsonl.gz").write_bytes(b"not compressed")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"x" * 1000)[:-12])
    checked = check_files(find_inputs([str(tmp_path)], None), CorpusOptions())
    problems = {bad.uri.rpartition("/")[2]: bad.message for bad in checked.bad}
    expected = {
        "missing.parquet": "no column text; its columns: body",
        "number.parquet": "column text must hold strings, it holds int64",
        "other.parquet": "n: string here, int64 there",
        "taken.parquet": "hazgate_flagged",
        "damaged.parquet": "cannot be read",
        "misnamed.jsonl": "none of its first 2 objects has a field text",
        "array.json": "is a JSON array; write one object per line",
        "list.jsonl": "none of its first 2 lines is a JSON object; give --format text",
        "wide.txt": "UTF-16",
        "no.jsonl.gz": "cannot be read",
        "cut.txt.gz": "cannot be read",
    }
    assert set(problems) == set(expected)
    assert all(words in problems[name] for name, words in expected.items())
    assert [file.size_bytes > 0 for file in checked.files].count(True) == 1


def test_one_bad_row_does_not_make_a_file_bad(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [b"not json", {"other": 1}, {"text": "good"}])
    assert check_files(find_inputs([str(file)], None), CorpusOptions()).bad == ()


def test_a_first_line_longer_than_the_head_is_no_problem(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "long " * 60_000}])
    assert check_files(find_inputs([str(file)], None), CorpusOptions()).bad == ()


def test_an_id_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["a"]})
    (tmp_path / "b.txt").write_text("a\n")
    checked = check_files(find_inputs([str(tmp_path)], None), CorpusOptions(id_column="id"))
    assert ["no column id" in checked.bad[0].message, "without ids" in checked.bad[1].message] == [
        True
    ] * 2
