"""Readers give every row once: as a text, or as a dead letter that says why and never what."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.readers import BadFileError, read_shard
from hazgate_scale.corpus.rows import DeadLetter
from tests.support.corpora import line_positions, planned, write_jsonl, write_parquet

SECRET = "unrepeatable"


def _read(
    file: Path | str, options: CorpusOptions, shard_bytes: int = 1 << 20
) -> tuple[list[tuple[int, str]], list[dict[str, Any]], list[DeadLetter]]:
    """Positions and texts, the columns that are passed on, and dead letters, of all shards."""
    found, shards, schema = planned(file, options, shard_bytes)
    texts: list[tuple[int, str]] = []
    passed: list[dict[str, Any]] = []
    dead: list[DeadLetter] = []
    for shard in shards:
        for rows in read_shard(found, shard, options):
            assert rows.passed.schema.equals(schema)
            texts += zip(rows.positions, rows.texts, strict=True)
            passed += rows.passed.to_pylist()
            dead += rows.dead
    return texts, passed, dead


def test_json_lines_pass_text_id_and_other_fields_on(tmp_path: Path) -> None:
    rows = [{"id": 7, "text": "a", "n": None}, {"text": "ä", "id": "x"}, {"text": ""}]
    file = write_jsonl(tmp_path / "a.jsonl", [*rows[:2], b"   ", rows[2]])
    positions = line_positions(file)
    texts, passed, dead = _read(file, CorpusOptions(id_column="id"))
    assert texts == [(positions[0], "a"), (positions[1], "ä"), (positions[3], "")]
    assert passed == [
        {"id": "7", "text": "a", "fields": '{"n": null}'},
        {"id": "x", "text": "ä", "fields": "{}"},
        {"id": None, "text": "", "fields": "{}"},
    ]
    assert dead == []
    _, passed, _ = _read(file, CorpusOptions(id_column="id", columns="text"))
    assert passed[0] == {"id": "7", "text": "a"}
    _, passed, _ = _read(file, CorpusOptions(id_column="id", columns="id"))
    assert passed[0] == {"id": "7"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (f'{{"text": "{SECRET}"'.encode(), "not_json"),
        (f'{{"text": "{SECRET}", "n": NaN}}'.encode(), "not_json"),
        (f'["{SECRET}"]'.encode(), "wrong_type"),
        (f'{{"text": ["{SECRET}"]}}'.encode(), "wrong_type"),
        (f'{{"body": "{SECRET}"}}'.encode(), "missing_text"),
        (f'{{"text": null, "body": "{SECRET}"}}'.encode(), "missing_text"),
        (f'{{"text": "{SECRET}"}}'.encode("utf-16"), "not_utf8"),
        (f'{{"text": "{SECRET}é"}}'.encode("latin-1"), "not_utf8"),
        (f'{{"text": "{SECRET}\\ud800"}}'.encode(), "not_utf8"),
        (f'{{"text": "{SECRET * 20}"}}'.encode(), "too_large"),
        (b"[" * 150, "not_json"),
    ],
)
def test_a_bad_line_is_a_dead_letter_and_its_neighbours_are_read(
    line: bytes, error: str, tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}, line, {"text": "two"}])
    texts, _, dead = _read(file, CorpusOptions(max_row_bytes=200))
    assert [text for _, text in texts] == ["one", "two"]
    assert [(letter.position, letter.error) for letter in dead] == [(16, error)]
    assert all(SECRET not in letter.message for letter in dead)


def test_lines_of_text_are_rows_blank_ones_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\ntwo \xff\nthree")
    texts, passed, dead = _read(tmp_path / "a.txt", CorpusOptions(text_column="prompt"))
    assert texts == [(0, "one"), (8, ""), (15, "three")]
    assert passed[0] == {"prompt": "one"}
    assert [(letter.position, letter.error) for letter in dead] == [(9, "not_utf8")]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_compressed_files_are_read_as_one_shard(ending: str, tmp_path: Path) -> None:
    content = b"".join(b"line %d\n" % i for i in range(3000))
    file = tmp_path / f"a.txt.{ending}"
    compressed = (
        gzip.compress(content) if ending == "gz" else pa.compress(content, "zstd", asbytes=True)
    )
    file.write_bytes(compressed)
    texts, _, _ = _read(file, CorpusOptions(), shard_bytes=100)
    assert [text for _, text in texts] == [f"line {i}" for i in range(3000)]
    assert texts[1][0] == len("line 0\n")


def test_a_compressed_file_that_ends_in_the_middle_is_bad_after_its_first_rows(
    tmp_path: Path,
) -> None:
    content = b"".join(b"line %d of many\n" % i for i in range(200_000))
    compressed = gzip.compress(content)
    file = tmp_path / "a.txt.gz"
    file.write_bytes(compressed[: len(compressed) // 2])
    found, (shard,), _ = planned(file, CorpusOptions())
    rows = read_shard(found, shard, CorpusOptions())
    assert next(rows).texts[0] == "line 0 of many"
    with pytest.raises(BadFileError, match="cannot be read"):
        list(rows)


def test_parquet_passes_its_columns_on_as_they_are(tmp_path: Path) -> None:
    columns = {
        "key": pa.array([1, 2, 3], pa.int16()),
        "text": pa.array(["a", None, "c"], pa.large_string()),
        "deep": pa.array([{"x": [1]}, None, {"x": []}]),
    }
    file = write_parquet(tmp_path / "a.parquet", columns)
    texts, passed, dead = _read(file, CorpusOptions(id_column="key"))
    assert texts == [(0, "a"), (2, "c")]
    assert passed == [
        {"key": 1, "text": "a", "deep": {"x": [1]}},
        {"key": 3, "text": "c", "deep": {"x": []}},
    ]
    assert [(letter.position, letter.error) for letter in dead] == [(1, "missing_text")]
    _, passed, _ = _read(file, CorpusOptions(id_column="key", columns="id"))
    assert passed == [{"key": 1}, {"key": 3}]


def test_texts_of_a_dictionary_are_read(tmp_path: Path) -> None:
    texts = pa.array(["a", "b", None, "a"]).dictionary_encode()
    found, _, dead = _read(write_parquet(tmp_path / "a.parquet", {"text": texts}), CorpusOptions())
    assert found == [(0, "a"), (1, "b"), (3, "a")]
    assert len(dead) == 1


@pytest.mark.parametrize("max_row_bytes", [1 << 20, 1 << 10])
def test_a_small_file_that_repeats_a_large_value_is_read_in_bounded_memory(
    tmp_path: Path, max_row_bytes: int
) -> None:
    large = "x" * (512 << 10)
    n_rows = 1000
    texts = pa.array([large] * n_rows).dictionary_encode()
    columns = {"text": texts, "other": texts, "plain": pa.array([large] * n_rows)}
    file = write_parquet(tmp_path / "a.parquet", columns)
    assert file.stat().st_size < 1 << 20
    # Decoded, each column has half a gigabyte.
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counted)
    try:
        # Everything that it allocates is gone when it returns: the pool must live longer.
        n_read, n_dead = _counts(file, CorpusOptions(max_row_bytes=max_row_bytes))
    finally:
        pa.set_memory_pool(before)
    assert (n_read > 0, n_dead) == ((True, 0) if max_row_bytes > 1 << 19 else (False, n_rows))
    assert counted.max_memory() < 64 << 20


def _counts(file: Path, options: CorpusOptions) -> tuple[int, int]:
    """Count the rows read, of which twenty are enough, and the dead letters."""
    source, shards, _ = planned(file, options)
    n_read = n_dead = 0
    for shard in shards:
        for rows in read_shard(source, shard, options):
            n_read += len(rows.texts)
            n_dead += len(rows.dead)
            if n_read >= 20:
                return n_read, n_dead
    return n_read, n_dead


def test_a_column_that_says_that_it_grows_beyond_text_is_refused(tmp_path: Path) -> None:
    zeros = pa.array(["0" * (300 << 20)])
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": zeros}), file, compression="zstd", use_dictionary=False)
    assert file.stat().st_size < 1 << 20
    with pytest.raises(BadFileError, match="that is no text"):
        _read(file, CorpusOptions())


def test_parquet_strings_that_are_not_utf8_are_dead_letters(tmp_path: Path) -> None:
    # Arrow takes the writer's word for it.
    raw = pa.array([b"good", f"{SECRET}é".encode("latin-1"), b"too"])
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    found, _, dead = _read(write_parquet(tmp_path / "a.parquet", {"text": texts}), CorpusOptions())
    assert found == [(0, "good"), (2, "too")]
    assert [(letter.position, letter.error) for letter in dead] == [(1, "not_utf8")]
    assert SECRET not in dead[0].message


@given(
    n_rows=st.integers(0, 60),
    row_group_size=st.integers(1, 30),
    shard_bytes=st.integers(1, 2000),
)
def test_shards_of_parquet_give_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, n_rows: int, row_group_size: int, shard_bytes: int
) -> None:
    file = tmp_path_factory.mktemp("parquet") / "a.parquet"
    texts = [f"text {i}" for i in range(n_rows)]
    write_parquet(file, {"text": pa.array(texts, pa.string())}, row_group_size=row_group_size)
    found, _, _ = _read(file, CorpusOptions(), shard_bytes)
    assert found == list(enumerate(texts))


def test_rows_of_megabytes_are_dead_letters_in_every_format(tmp_path: Path) -> None:
    large = "x" * (3 << 20)
    write_parquet(tmp_path / "a.parquet", {"text": ["a", large, "b"]})
    write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}, {"text": large}, {"text": "b"}])
    (tmp_path / "a.txt").write_text(f"a\n{large}\nb\n")
    for name in ("a.parquet", "a.jsonl", "a.txt"):
        texts, _, dead = _read(tmp_path / name, CorpusOptions())
        assert [text for _, text in texts] == ["a", "b"], name
        assert [letter.error for letter in dead] == ["too_large"], name
        assert "at most 1048576 are taken" in dead[0].message


def test_what_is_handed_on_at_a_time_is_bounded_in_rows_and_bytes(tmp_path: Path) -> None:
    rows = [{"text": "x" * 900_000} for _ in range(12)] + [{"text": "y"} for _ in range(3000)]
    jsonl = write_jsonl(tmp_path / "a.jsonl", rows)
    parquet = write_parquet(tmp_path / "a.parquet", {"text": [row["text"] for row in rows]})
    for file in (jsonl, parquet):
        found, shards, _ = planned(file, CorpusOptions(), 1 << 30)
        (shard,) = shards if file == jsonl else shards[:1]
        sizes = [
            (len(r.texts), sum(map(len, r.texts)))
            for r in read_shard(found, shard, CorpusOptions())
        ]
        assert max(n for n, _ in sizes) <= 1024
        assert max(size for _, size in sizes) <= 5 << 20


def test_fields_that_are_passed_on_are_the_ones_that_came(tmp_path: Path) -> None:
    other = {"n": 1.5, "deep": {"a": [None, True]}, "ä": "é"}
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", **other}])
    _, ((passed),), _ = _read(file, CorpusOptions())
    assert json.loads(passed["fields"]) == other
