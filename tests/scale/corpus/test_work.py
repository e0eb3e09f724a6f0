"""A shard is judged and committed whole: each row in its part or among its dead letters."""

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from hazgate import Gate, InferenceError, InputError, OutputError, Policy, Reading
from hazgate.documents.decode import encode
from hazgate_scale.corpus import readers, work
from hazgate_scale.corpus.inputs import open_input
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.output import Output
from hazgate_scale.corpus.tally import Tally, total
from hazgate_scale.corpus.work import do_shard, read_tally
from tests.support.corpora import (
    FLAGGED,
    PASSED,
    dead_letters_of,
    job_of,
    line_positions,
    parts_of,
    planned,
    write_jsonl,
    write_parquet,
)
from tests.support.panel_bundle import write_panel
from tests.support.policies import POLICY
from tests.support.sessions import failing_gate

TEXTS = [FLAGGED, PASSED, "", "你好", "bomb", PASSED] * 5


def _run(
    gate: Gate,
    file: Path | str,
    output: Path | str,
    options: CorpusOptions,
    shard_bytes: int = 1 << 20,
) -> Tally:
    """Do all shards of one file, as workers would."""
    found, shards, passed = planned(file, options, shard_bytes)
    job, target = job_of(gate, options, passed), Output.at(str(output))
    return total(do_shard(gate, job, target, found, shard) for shard in shards)


def _write(folder: Path, texts: list[str]) -> Path:
    return write_jsonl(folder / "a.jsonl", ({"id": i, "text": t} for i, t in enumerate(texts)))


def test_a_row_has_the_gates_verdict_and_says_where_it_comes_from(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    file = _write(tmp_path, TEXTS)
    tally = _run(tiny_gate, file, tmp_path / "out", CorpusOptions(id_column="id"), shard_bytes=300)
    rows = parts_of(tmp_path / "out")
    assert len(list((tmp_path / "out" / "parts").iterdir())) > 1
    assert [row["text"] for row in rows] == TEXTS
    assert [row["id"] for row in rows] == [str(i) for i in range(len(TEXTS))]
    assert [row["hazgate_position"] for row in rows] == line_positions(file)
    for row, verdict in zip(rows, tiny_gate.check_many(TEXTS), strict=True):
        assert row["hazgate_flagged"] == verdict.flagged
        assert row["hazgate_unsafe"] == np.float32(verdict.unsafe)
        assert row["hazgate_hazard"] == verdict.hazard
        hazards = (
            None if verdict.hazards is None else list(map(np.float32, verdict.hazards.values()))
        )
        assert (row["hazgate_hazards"] and list(row["hazgate_hazards"].values())) == hazards
        assert row["hazgate_tokens_total"] == verdict.tokens.total
        assert (row["hazgate_span_start"], row["hazgate_span_end"]) == (0, len(row["text"]))
        assert row["hazgate_input"] == f"file://{file}"
        assert row["hazgate_bundle"] == tiny_gate.model.digest
        assert row["hazgate_variant"] == "int8"
    assert tally.rows_in == tally.rows_out == len(TEXTS)
    assert tally.flagged == sum(row["hazgate_flagged"] for row in rows) > 0
    assert tally.hazards == {hazard: n for hazard, n in tally.hazards.items() if n > 0}
    assert sum(tally.hazards.values()) == tally.flagged
    assert tally.scripts == {"cjk": 5, "latin": 20, "none": 5}


def test_levels_beside_the_cascade_have_a_column(tiny_bundle: Path, tmp_path: Path) -> None:
    gate = Gate.open(write_panel(tiny_bundle, tmp_path / "panel"))
    texts = ["good world", "morning", "other"]
    options = CorpusOptions(levels=("injection", "pii"))
    _run(gate, _write(tmp_path, texts), tmp_path / "out", options)
    verdicts = gate.check_many(texts, levels=options.levels)
    for row, verdict in zip(parts_of(tmp_path / "out"), verdicts, strict=True):
        assert list(row["hazgate_levels"]) == ["injection", "pii"]
        for name, result in verdict.levels.items():
            found = row["hazgate_levels"][name]
            assert found["labels"] == list(result.labels)
            assert found["flagged"] == result.flagged
            assert found["scores"] == {k: np.float32(v) for k, v in result.scores.items()}
    _run(gate, _write(tmp_path, texts), tmp_path / "bare", CorpusOptions())
    assert "hazgate_levels" not in parts_of(tmp_path / "bare")[0]


def test_keep_and_drop_divide_the_rows_and_count_them_all(tiny_gate: Gate, tmp_path: Path) -> None:
    file = _write(tmp_path, TEXTS)
    tallies = {
        mode: _run(tiny_gate, file, tmp_path / mode, CorpusOptions(mode=mode))
        for mode in ("annotate", "keep", "drop")
    }
    rows = {mode: parts_of(tmp_path / mode) for mode in tallies}
    assert all(row["hazgate_flagged"] for row in rows["keep"])
    assert not any(row["hazgate_flagged"] for row in rows["drop"])
    both = sorted(rows["keep"] + rows["drop"], key=lambda row: row["hazgate_position"])
    assert both == rows["annotate"]
    assert {(t.rows_in, t.flagged) for t in tallies.values()} == {(30, len(rows["keep"]))}
    assert [t.rows_out for t in tallies.values()] == [30, len(rows["keep"]), len(rows["drop"])]


def test_a_shard_of_which_nothing_is_written_has_a_part_all_the_same(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"n": [1, 2], "text": [PASSED, PASSED]})
    assert _run(tiny_gate, file, tmp_path / "out", CorpusOptions(mode="keep")).rows_out == 0
    assert parts_of(tmp_path / "out") == []
    assert pq.read_schema(tmp_path / "out" / "parts" / "000000.parquet").names[:2] == ["n", "text"]


def test_columns_id_repeat_no_text(tiny_gate: Gate, tmp_path: Path) -> None:
    file = _write(tmp_path, TEXTS)
    _run(
        tiny_gate, file, tmp_path / "out", CorpusOptions(id_column="id", columns="id", mode="keep")
    )
    content = (tmp_path / "out" / "parts" / "000000.parquet").read_bytes()
    assert FLAGGED.encode() not in content
    assert "text" not in parts_of(tmp_path / "out")[0]


def test_every_row_is_in_a_part_or_a_dead_letter(tiny_gate: Gate, tmp_path: Path) -> None:
    lines: list[Any] = [{"text": PASSED}, b"not json", {"text": 3}, {"text": "x" * 2000}, b"\xff"]
    file = write_jsonl(tmp_path / "a.jsonl", lines * 40)
    out = tmp_path / "out"
    tally = _run(tiny_gate, file, out, CorpusOptions(max_row_bytes=1000), shard_bytes=3000)
    rows, dead = parts_of(out), dead_letters_of(out)
    positions = [row["hazgate_position"] for row in rows] + [letter["position"] for letter in dead]
    assert sorted(positions) == line_positions(file)
    assert {letter["input"] for letter in dead} == {f"file://{file}"}
    assert tally.errors == {"not_json": 40, "not_utf8": 40, "too_large": 40, "wrong_type": 40}
    assert (tally.rows_in, tally.rows_out) == (200, 40)


def test_a_row_that_the_gate_refuses_is_a_dead_letter_and_no_other_is(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    gate = dataclasses.replace(tiny_gate, reading=Reading(max_text_tokens=20))
    file = _write(tmp_path, [PASSED, "word " * 100, FLAGGED])
    tally = _run(gate, file, tmp_path / "out", CorpusOptions())
    assert [row["text"] for row in parts_of(tmp_path / "out")] == [PASSED, FLAGGED]
    (letter,) = dead_letters_of(tmp_path / "out")
    assert (letter["position"], letter["error"]) == (line_positions(file)[1], "refused")
    assert "word" not in letter["message"]
    assert tally.errors == {"refused": 1}


def test_a_row_on_which_the_model_fails_is_a_dead_letter_and_never_safe(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    long = "word " * 30
    gate = failing_gate(tiny_gate, lambda n_tokens: n_tokens > 25)
    file = _write(tmp_path, [PASSED, long, FLAGGED])
    tally = _run(gate, file, tmp_path / "out", CorpusOptions())
    assert [row["text"] for row in parts_of(tmp_path / "out")] == [PASSED, FLAGGED]
    assert tally.errors == {"inference_failed": 1}


def test_a_model_that_fails_on_every_row_ends_the_shard_without_a_part(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    gate = failing_gate(tiny_gate, lambda n_tokens: True)
    with pytest.raises(InferenceError):
        _run(gate, _write(tmp_path, TEXTS), tmp_path / "out", CorpusOptions())
    assert list((tmp_path / "out" / "parts").iterdir()) == []
    assert list((tmp_path / "out" / "_temporary").iterdir()) == []


def test_a_shard_that_is_done_is_not_done_again(tiny_gate: Gate, tmp_path: Path) -> None:
    file = _write(tmp_path, TEXTS)
    first = _run(tiny_gate, file, tmp_path / "out", CorpusOptions())
    part = tmp_path / "out" / "parts" / "000000.parquet"
    before = part.stat().st_mtime_ns
    failing = failing_gate(tiny_gate, lambda n_tokens: True)
    assert _run(failing, file, tmp_path / "out", CorpusOptions()) == first
    assert part.stat().st_mtime_ns == before


def test_what_an_earlier_try_left_beside_its_part_does_not_stay(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    stale = tmp_path / "out" / "_dead_letters" / "000000.jsonl"
    stale.parent.mkdir(parents=True)
    stale.write_text('{"position": 1}\n')
    _run(tiny_gate, _write(tmp_path, TEXTS), tmp_path / "out", CorpusOptions())
    assert dead_letters_of(tmp_path / "out") == []


@pytest.mark.parametrize("skip_bad_files", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.ETIMEDOUT, "timed out"), TimeoutError("late")])
def test_a_file_system_that_fails_is_no_bad_file(
    tiny_gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    *,
    skip_bad_files: bool,
) -> None:
    file = _write(tmp_path, TEXTS)
    n_failures = 2

    def open_twice_in_vain(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        nonlocal n_failures
        n_failures -= 1
        if n_failures >= 0:
            raise error
        return open_input(*args, **options)

    monkeypatch.setattr(readers, "open_input", open_twice_in_vain)
    monkeypatch.setattr(work, "_READ_WAITS_S", (0.0, 0.0))
    options = CorpusOptions(skip_bad_files=skip_bad_files)
    _run(tiny_gate, file, tmp_path / "out", options)
    assert [row["text"] for row in parts_of(tmp_path / "out")] == TEXTS
    assert dead_letters_of(tmp_path / "out") == []
    n_failures = 99
    with pytest.raises(InputError, match="3 tries"):
        _run(tiny_gate, file, tmp_path / "again", options)
    assert list((tmp_path / "again" / "parts").iterdir()) == []


def test_a_number_that_json_cannot_hold_is_a_dead_letter(tiny_gate: Gate, tmp_path: Path) -> None:
    lines: list[Any] = [b'{"text": "good", "score": 1e999}', {"text": "good", "score": 1.5}]
    file = write_jsonl(tmp_path / "a.jsonl", lines)
    _run(tiny_gate, file, tmp_path / "out", CorpusOptions(columns="all"))
    (row,) = parts_of(tmp_path / "out")
    assert json.loads(row["fields"], parse_constant=pytest.fail) == {"score": 1.5}
    (letter,) = dead_letters_of(tmp_path / "out")
    assert letter["error"] == "not_json"


def test_a_part_of_another_run_or_a_damaged_one_is_refused(tiny_gate: Gate, tmp_path: Path) -> None:
    _run(tiny_gate, _write(tmp_path, TEXTS), tmp_path / "out", CorpusOptions())
    output = Output.at(str(tmp_path / "out"))
    with pytest.raises(OutputError, match="belongs to another run"):
        read_tally(output, "other", 0)
    part = tmp_path / "out" / "parts" / "000000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(OutputError, match="is damaged"):
        read_tally(output, "test", 0)


def test_a_file_that_has_changed_since_it_was_planned_is_refused(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    file = _write(tmp_path, TEXTS)
    found, (shard,), passed = planned(file, CorpusOptions())
    job = job_of(tiny_gate, CorpusOptions(), passed)
    _write(tmp_path, TEXTS[:3])
    with pytest.raises(InputError, match="has changed since the run began"):
        do_shard(tiny_gate, job, Output.at(str(tmp_path / "out")), found, shard)


def test_damage_within_a_file_ends_the_run_or_is_a_dead_letter(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    texts = [f"text {i}" for i in range(4000)]
    file = write_parquet(tmp_path / "a.parquet", {"text": texts}, row_group_size=2000)
    second = pq.read_metadata(file).row_group(1).column(0)
    content = bytearray(file.read_bytes())
    begin = second.data_page_offset
    content[begin : begin + 200] = b"\xff" * 200
    file.write_bytes(content)
    with pytest.raises(InputError, match="--skip-bad-files"):
        _run(tiny_gate, file, tmp_path / "refused", CorpusOptions())
    tally = _run(tiny_gate, file, tmp_path / "out", CorpusOptions(skip_bad_files=True))
    assert [row["text"] for row in parts_of(tmp_path / "out")] == texts[: tally.rows_in]
    assert tally.rows_in >= 2000
    (letter,) = dead_letters_of(tmp_path / "out")
    assert (letter["position"], letter["error"]) == (None, "bad_file")


def test_a_policy_decides_and_is_named(tiny_gate: Gate, tmp_path: Path) -> None:
    policy = Policy.parse(POLICY.encode())
    gate = tiny_gate.with_policy(policy)
    _run(gate, _write(tmp_path, TEXTS), tmp_path / "out", CorpusOptions())
    rows = parts_of(tmp_path / "out")
    decisions = [verdict.decision for verdict in gate.check_many(TEXTS)]
    assert [row["hazgate_action"] for row in rows] == [d.action for d in decisions if d]
    assert {row["hazgate_policy"] for row in rows} == {policy.digest}


def test_a_sample_is_of_all_rows_and_does_not_depend_on_the_shards(
    tiny_gate: Gate, tmp_path: Path
) -> None:
    file = _write(tmp_path, [f"text {i}" for i in range(60)])

    def sampled(name: str, options: CorpusOptions, shard_bytes: int) -> list[dict[str, Any]]:
        _run(tiny_gate, file, tmp_path / name, options, shard_bytes)
        files = sorted((tmp_path / name / "_review").iterdir())
        rows = [json.loads(line) for each in files for line in each.read_text().splitlines()]
        return sorted(rows, key=lambda row: str(row["rank"]))[:7]

    options = CorpusOptions(n_sample=7, id_column="id", mode="keep")
    whole = sampled("whole", options, 1 << 20)
    assert len(whole) == 7
    assert sampled("cut", options, 300) == whole
    assert sampled("other", dataclasses.replace(options, seed=1), 300) != whole
    verdict = tiny_gate.check(whole[0]["text"])
    assert whole[0]["verdict"] == verdict.to_dict()


def test_object_stores_are_read_and_written(tiny_gate: Gate) -> None:
    with fsspec.open("memory://in/a.jsonl", "wb") as stream:
        stream.write(b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS))
    tally = _run(tiny_gate, "memory://in/a.jsonl", "memory://out", CorpusOptions(n_sample=2))
    assert tally.rows_out == len(TEXTS)
    fs = fsspec.filesystem("memory")
    with fs.open("/out/parts/000000.parquet") as stream:
        assert pq.read_table(stream)["text"].to_pylist() == TEXTS
    assert fs.find("/out/_temporary") == []


def test_tallies_add_up() -> None:
    one = Tally(rows_in=3, hazards={"b": 1}, errors={"x": 1}, work_s=0.5)
    two = Tally(rows_in=4, hazards={"a": 2, "b": 1}, work_s=0.25)
    both = Tally(rows_in=7, hazards={"a": 2, "b": 2}, errors={"x": 1}, work_s=0.75)
    assert one + two == total([one, two]) == both
    assert list(encode(both)["hazards"]) == ["a", "b"]
